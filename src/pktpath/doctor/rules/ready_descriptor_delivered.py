"""What poll reported was there: the descriptor it named delivered, and only the others had nothing.

Among many calls that fail with EAGAIN it is easily overlooked that poll promises nothing for those: it names the descriptors
that have something, and a loop that asks all of them fails at the rest.

Speaks when every descriptor that poll, select or epoll reported delivered when it was asked, and others failed with EAGAIN
beside them. It is a note. Silent where a reported descriptor had nothing:
`ready-descriptor-was-empty` speaks of that.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.process import ReadyDescriptor, Syscall
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.rules._syscalls import AGAIN, traced
from pktpath.doctor.rules._threads import process_name


@rule(
    ReadyDescriptor,
    Syscall,
    ask="strace -p TID (lines, not -c)",
    well="No call fails beside a descriptor that poll reported.",
    topic="eagain",
)
def ready_descriptor_delivered(case: Case) -> Iterator[Finding]:
    """One finding a trace."""
    for trace in traced(case):
        ready = [one for one in case.all(ReadyDescriptor) if trace.holds(one.at)]
        failed = [(call, count) for call in trace.syscalls for name, count in call.errnos if name in AGAIN]
        delivered = sum(one.delivered for one in ready)
        if not delivered or not failed or any(one.empty for one in ready):
            continue
        best = max(ready, key=lambda one: one.delivered)
        subject = (
            "The one descriptor that poll reported" if len(ready) == 1 else f"All {len(ready)} descriptors that poll reported"
        )
        yield Finding(
            severity=Severity.NOTE,
            confidence=Confidence.CERTAIN,
            summary=f"{subject} (fd {', '.join(str(one.fd) for one in ready[:6])}) did deliver, {delivered} of "
            f"{sum(one.reported for one in ready)} times; the {sum(count for _, count in failed):,} calls that failed "
            "with EAGAIN asked others, or the same once more.",
            evidence=(best.at, *(call.at for call, _ in failed[:3])),
            why="poll names what has something; the loop then asks every descriptor without blocking, and the others "
            "have nothing.",
            about=process_name(case, trace.pid),
        )
