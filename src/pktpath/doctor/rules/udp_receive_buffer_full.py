"""Datagrams are dropped because the program that waits for them does not read in time.

Each UDP socket has a buffer of `net.core.rmem_default` bytes unless the program asks for more, up to `net.core.rmem_max`. What
arrives when it is full is dropped and counted in UdpRcvbufErrors. Source: `__udp_enqueue_schedule_skb`, net/ipv4/udp.c; udp(7).

Speaks when it rose by 10 or more between two looks, and by more than 1 of 1,000 datagrams. With one look it notes a total above
1 of 100.
Silent for fewer: a burst now and then is normal.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.host import Counter, Setting
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.remedy import sysctl
from pktpath.doctor.rules._protocols import evidence, per_cent, protocols, told

_LEAST, _SHARE, _OLD_SHARE = 10, 1e-3, 1e-2
_NAME = "net.core.rmem_max"


@rule(Counter, ask="nstat -zas twice", well="UDP sockets are read in time.", topic="udp")
def udp_receive_buffer_full(case: Case) -> Iterator[Finding]:
    """One finding a namespace and version of IP."""
    before = next((one.value for one in case.latest(Setting) if one.name == _NAME), "")
    larger = str(max(8 << 20, 2 * int(before) if before.isdigit() and len(before) < 10 else 0))
    for counters in protocols(case):
        for name, read in (("UdpRcvbufErrors", "UdpInDatagrams"), ("Udp6RcvbufErrors", "Udp6InDatagrams")):
            lost = counters.changes.get(name)
            if lost is None or lost.rise < _LEAST:
                continue
            total = counters.rise(read) + lost.rise
            if lost.rise < (_SHARE if lost.twice else _OLD_SHARE) * total:
                continue
            yield Finding(
                severity=Severity.PROBLEM if lost.twice else Severity.NOTE,
                confidence=Confidence.CERTAIN if lost.twice else Confidence.POSSIBLE,
                summary=f"UDP datagrams are dropped because a program does not read its socket in time{counters.where}: "
                f"{told(lost)}, {per_cent(lost.rise, total)} of what arrived.",
                evidence=evidence(lost),
                why="The socket's buffer was full. Either bursts are larger than the buffer, or the program is slower than what "
                "arrives; only the first is helped by a larger buffer, and only when the program asks for one (SO_RCVBUF).",
                about=counters.scope,
                remedies=(
                    sysctl(
                        _NAME, larger, before,
                        effect=f"Programs that ask for a larger buffer get up to {int(larger) >> 20} MiB.",
                        cost="Memory, and older data in the queue; programs that do not ask keep net.core.rmem_default.",
                        verify=f"nstat -zas {name} no longer rises",
                    ),
                ),
                proof="ss -uamn: which socket has a full Recv-Q, and drops (d…) in skmem",
            )  # fmt: skip
