"""Which stages of the packet path the sampled stacks are in.

Each stack counts for one stage, by the innermost of its functions whose stage is known: copies between kernel and program,
checksums, allocation of buffers, GRO, Open vSwitch's lookups, netfilter, locks, the driver, protocols. For a bulk receiver
copies are the largest share when everything else is well: that is what is left when GRO and offloads do their part.

Speaks when a hundred samples of stacks are there that are not an idle CPU's, and half of them are of known stages. It is a
note. Silent for programs that do something else than move packets. `software-checksum-hot` and `lock-contention-hot` speak of
two stages that should not be large.
Sources: functions of the kernel by their files (net/core/datagram.c, skbuff.c, gro.c, lib/checksum.c, kernel/locking).
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.perf import SampledStack
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.rules._profile import busy_stacks, of_stages

ENOUGH = 100
"""Samples: with fewer a share of 10 % is off by 6 in two of three cases."""
_NETWORK = frozenset(("TCP/UDP and IP", "driver", "GRO", "Open vSwitch", "copies", "checksums", "netfilter", "segmentation"))


@rule(
    SampledStack,
    ask="perf record -a -g -- sleep 5; perf script",
    well="The sampled stacks are not of the packet path.",
    topic="processes",
)
def cycles_by_stage(case: Case) -> Iterator[Finding]:
    """One finding for all stacks together."""
    stacks = busy_stacks(case)
    total = sum(stack.samples for stack in stacks)
    stages = list(of_stages(stacks))
    known = sum(samples for name, samples, _ in stages if name != "other")
    network = sum(samples for name, samples, _ in stages if name in _NETWORK)
    if total < ENOUGH or known < total / 2 or network < total / 5:
        return
    named = [(name, samples, stack) for name, samples, stack in stages if name != "other" and samples >= total / 100]
    shares = ", ".join(f"{name} {100 * samples / total:.0f} %" for name, samples, _ in named[:8])
    first = named[0]
    yield Finding(
        severity=Severity.NOTE,
        confidence=Confidence.CERTAIN,
        summary=f"Of {total:,} sampled stacks that were not idle: {shares}.",
        evidence=tuple(stack.at for _, _, stack in named[:5]),
        why=f"Most are in {first[0]} (mostly {next((f for f in reversed(first[2].frames)), '')}). "
        + (
            "Copies between the kernel and the program are what a bulk transfer is left with when GRO and offloads do their "
            "part; they fall only with zero copy (MSG_ZEROCOPY, TCP_ZEROCOPY_RECEIVE) or smaller buffers that stay in the "
            "cache."
            if first[0] == "copies"
            else "Each stack counts once, for its innermost function whose stage is known."
        ),
        about="sampled stacks",
    )
