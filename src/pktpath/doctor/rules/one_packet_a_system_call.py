"""Each packet costs a system call.

`sendto`, `sendmsg`, `recvfrom` and `recvmsg` carry one datagram each. Entering the kernel and walking down its stack costs
about a microsecond; at ten thousand packets a second and more that is what a core does. `sendmmsg` and `recvmmsg` carry many
datagrams in one call; UDP segmentation (UDP_SEGMENT, GSO) and UDP GRO carry up to 64 of them through the stack as one.

Speaks when such calls succeeded 5000 times a second and more under strace, which itself slows them to some ten thousand, were
more than half of all calls, and carried 2000 bytes or less on average where the lines say that.
Silent for streams with large reads and writes, and for recvmmsg and sendmmsg.
Sources: sendmmsg(2), recvmmsg(2), udp(7) UDP_SEGMENT and UDP_GRO.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.process import Syscall
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.rules._syscalls import MOVES, traced
from pktpath.doctor.rules._threads import begin, process_name

RATE, SHARE, SIZE = 5000.0, 0.5, 2000.0


@rule(
    Syscall,
    ask="timeout -s INT 3 strace -f -c -p PID",
    well="No process makes a system call for each of very many packets.",
    topic="gso",
)
def one_packet_a_system_call(case: Case) -> Iterator[Finding]:
    """One finding a process."""
    told: set[int] = set()
    for trace in traced(case):
        moving = trace.of(MOVES)
        done = sum(call.calls - call.errors for call in moving)
        total = sum(call.calls for call in trace.syscalls)
        if trace.pid in told or not trace.seconds or done < RATE * trace.seconds or done < SHARE * total:
            continue
        sizes = [call.bytes for call in moving if call.bytes is not None]
        mean = sum(sizes) / done if sizes else None
        if mean is not None and mean > SIZE:
            continue
        told.add(trace.pid)
        names = " and ".join(f"{call.name} {call.calls - call.errors:,}" for call in moving[:2])
        size = f" of {mean:,.0f} bytes on average" if mean is not None else ""
        who = process_name(case, trace.pid)
        yield Finding(
            severity=Severity.WARNING,
            confidence=Confidence.LIKELY,
            summary=f"{begin(who)} makes a system call for each packet: {done / trace.seconds:,.0f} a second{size} ({names} "
            f"of {total:,} calls), under strace.",
            evidence=tuple(call.at for call in moving[:3]),
            why="Each call enters the kernel and walks down its stack for one datagram. recvmmsg and sendmmsg carry many in "
            "one call; UDP_SEGMENT (GSO) and UDP_GRO carry up to 64 datagrams through the stack as one. The program must "
            "ask for these.",
            about=who,
            proof="perf trace -s -p PID counts the calls without slowing them so much; ip -s link shows as many packets "
            "a second.",
        )
