"""poll reports a descriptor, and whoever reads it finds nothing.

Several threads or processes that wait for one descriptor are all woken for one event; the first takes it, the others are woken
for nothing (thundering herd). A datagram with a bad UDP checksum does it too: poll sees it, the read drops it (select(2), BUGS).

Speaks when at least ten times a reported descriptor was asked and half of these questions failed with EAGAIN.
Silent for a few: one other reader may always be faster, and edge-triggered programs ask until they fail.
Sources: select(2) BUGS, epoll_ctl(2) EPOLLEXCLUSIVE, socket(7) SO_REUSEPORT.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.process import ReadyDescriptor
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.rules._threads import process_name

TIMES, HALF = 10, 0.5


@rule(
    ReadyDescriptor,
    ask="strace -f -p PID (lines, not -c)",
    well="Descriptors that poll reported delivered when they were asked.",
    topic="eagain",
)
def ready_descriptor_was_empty(case: Case) -> Iterator[Finding]:
    """One finding a process, for its worst descriptor."""
    by_fd: dict[tuple[int, int], list[ReadyDescriptor]] = {}
    for one in case.latest(ReadyDescriptor):
        by_fd.setdefault((one.pid, one.fd), []).append(one)
    for (pid, fd), looks in by_fd.items():
        empty, delivered = sum(one.empty for one in looks), sum(one.delivered for one in looks)
        if empty < TIMES or empty < HALF * (empty + delivered):
            continue
        yield Finding(
            severity=Severity.WARNING,
            confidence=Confidence.LIKELY,
            summary=f"poll reported fd {fd} of {process_name(case, pid)} and it was empty when it was read, "
            f"{empty:,} of {empty + delivered:,} times.",
            evidence=tuple(one.at for one in sorted(looks, key=lambda one: -one.empty)[:4]),
            why="Somebody else takes what is there first: several threads or processes wait for one descriptor and all are woken "
            "for each event. Each wake-up costs two switches and a system call for nothing.",
            about=process_name(case, pid),
            proof=f"lsof +E -p PID shows who else holds fd {fd}; strace -f -y on all of them shows who reads it. If nobody does, "
            "see whether UdpInCsumErrors of nstat rises: a bad checksum is found only when the datagram is read.",
        )
