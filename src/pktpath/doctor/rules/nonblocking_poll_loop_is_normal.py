"""System calls that fail with EAGAIN by the hundred are how a poll loop asks, not an error.

A program with one loop for everything sleeps in `poll`, and when one descriptor has something, asks all of them without
blocking, as it does not remember which. Those that have nothing answer EAGAIN; `accept` on a listening socket that nobody calls
does too. Open vSwitch's main thread works so (`poll_block`, then every `*_run`).

Speaks when nine of ten failures of reading calls are EAGAIN, or unknown (`strace -c` tells no reasons), there is a poll
behind which they stand, and they are few: below 1000 a second, or below 100 for each poll where no time is known. It is a note.
Silent when the calls do not sleep in between (`spins-on-eagain`), and when poll itself had reported the descriptors
(`ready-descriptor-was-empty`).
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.process import ReadyDescriptor, Syscall
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.rules._syscalls import POLLS, asking_in_vain, traced
from pktpath.doctor.rules._threads import process_name

RATE, EACH = 1000.0, 100.0
"""Failures a second, and for each poll: a loop over a hundred descriptors ten times a second is at rest."""


@rule(
    Syscall,
    ask="strace -f -c -p PID  (stops a poll-mode thread for moments: packets may be dropped)",
    well="No program asks its descriptors in vain.",
    topic="eagain",
)
def nonblocking_poll_loop_is_normal(case: Case) -> Iterator[Finding]:
    """One finding a process: the calls of all traces of it."""
    shown: dict[int, list[Finding]] = {}
    for trace in traced(case):
        vain = asking_in_vain(trace)
        polls = trace.calls(POLLS)
        failed = sum(call.errors for call in vain)
        if not vain or not polls or failed < 10 or failed > EACH * polls:
            continue
        rate = failed / trace.seconds if trace.seconds else None
        if rate is not None and rate >= RATE:
            continue
        known = sum(call.again for call in vain)
        promised = sum(one.empty for one in case.all(ReadyDescriptor) if trace.holds(one.at))
        if (any(call.told for call in vain) and known < 0.9 * failed) or promised > failed / 2:
            continue
        names = ", ".join(f"{call.errors:,} of {call.calls:,} {call.name}" for call in vain[:4])
        reason = "with EAGAIN" if known else "most likely with EAGAIN"
        speed = f", {rate:,.0f} a second" if rate is not None else ""
        shown.setdefault(trace.pid, []).append(
            Finding(
                severity=Severity.NOTE,
                confidence=Confidence.CERTAIN if known and rate is not None else Confidence.LIKELY,
                summary=f"{names} calls of {process_name(case, trace.pid)} failed {reason}{speed}: that is the normal poll loop.",
                evidence=(*(call.at for call in vain[:4]), trace.of(POLLS)[0].at),
                why=f"After each of {polls:,} polls the program asks every descriptor without blocking, and those that have "
                "nothing answer EAGAIN (accept: nobody calls). The thread sleeps in between, so it costs next to nothing.",
                about=process_name(case, trace.pid),
                proof="strace -r -p PID: the time lies before the calls that follow poll. strace without -c names the errors.",
            )
        )
    for findings in shown.values():
        yield max(findings, key=lambda finding: (finding.confidence, len(finding.evidence)))
