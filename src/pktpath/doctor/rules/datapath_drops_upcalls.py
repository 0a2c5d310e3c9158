"""Packets are lost on their way to ovs-vswitchd.

A packet without a megaflow is queued for ovs-vswitchd on a Netlink socket; when its buffer is full, because handlers are slower
than packets come, the packet is dropped and `lost` counts it. On the userspace datapath `lost` counts upcalls that left no
megaflow, and most of these packets are forwarded nevertheless: there coverage/show (`datapath_drop_upcall_error`) tells of loss.

A kernel datapath counts such a packet in `missed` as well (`ovs_dp_process_packet`).

Speaks, as a problem, when `lost` of a kernel datapath rises between two looks. With one look, when it is at least 1 % of what
missed, as a warning, as it may be long ago. Silent about less, and about userspace datapaths (see ovs-drops-packets).
Source: net/openvswitch/datapath.c (queue_userspace_packet, ovs_dp_upcall), ovs-dpctl(8).
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case, took
from pktpath.doctor.facts.host import Counter
from pktpath.doctor.facts.ovs import Datapath
from pktpath.doctor.finding import Confidence, Finding, Remedy, Severity, rule
from pktpath.doctor.remedy import other_config
from pktpath.doctor.rules._ovs import value_of

SHARE = 0.01
ENOUGH = 100


@rule(
    Datapath,
    ask="ovs-appctl dpctl/show, twice",
    well="No kernel datapath loses packets on their way to ovs-vswitchd.",
    topic="megaflow",
)
def datapath_drops_upcalls(case: Case) -> Iterator[Finding]:
    """One finding a datapath."""
    for pair in case.pairs(Datapath):
        before, last = pair.first, pair.last
        if last.userspace:
            continue
        if pair.twice:
            rise, missed = last.lost - before.lost, last.missed - before.missed
            if rise > 0:
                rate = f" in {took(pair.seconds)} ({rise / pair.seconds:,.1f}/s)" if pair.seconds else " between two looks"
                yield Finding(
                    severity=Severity.PROBLEM,
                    confidence=Confidence.CERTAIN,
                    summary=f"{last.name} lost {rise:,} packets on their way to ovs-vswitchd{rate}, while {missed:,} missed.",
                    evidence=(last.at, before.at),
                    why=_WHY,
                    about=last.name,
                    remedies=tuple(_remedies(case)),
                )
        elif last.lost >= ENOUGH and last.lost >= SHARE * last.missed:
            yield Finding(
                severity=Severity.WARNING,
                confidence=Confidence.POSSIBLE,
                summary=f"{last.name} has lost {last.lost:,} packets on their way to ovs-vswitchd since it began to count, "
                f"{100 * last.lost / max(1, last.missed):.1f} % of those that had no megaflow.",
                evidence=(last.at,),
                why=_WHY + " Whether it still happens, one look does not tell.",
                about=last.name,
                remedies=tuple(_remedies(case)),
                proof="ovs-appctl dpctl/show twice, some seconds apart: `lost` must stand still",
            )


_WHY = "The socket buffers of the handler threads were full: packets without a megaflow came faster than ovs-vswitchd took them."


def _remedies(case: Case) -> Iterator[Remedy]:
    handlers = [one.value for one in case.latest(Counter) if one.group == "memory" and one.name == "handlers"]
    if handlers and handlers[-1] < 64:
        yield other_config(
            "n-handler-threads",
            str(2 * handlers[-1]),
            value_of(case, "n-handler-threads"),
            effect=f"{2 * handlers[-1]} threads instead of {handlers[-1]} take such packets, each with socket buffers of "
            "its own.",
            cost="More CPU while upcalls come. Where the kernel has per-CPU upcalls (Open vSwitch 2.16, Linux 5.15) the "
            "number of handlers follows the CPUs, and this setting is ignored.",
            verify="ovs-appctl memory/show tells the handlers; `lost` of ovs-appctl dpctl/show stands still",
        )
