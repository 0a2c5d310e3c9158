"""System calls of one trace together, by what they are for."""

from dataclasses import dataclass, field

from pktpath.doctor.case import Case
from pktpath.doctor.facts.base import Place
from pktpath.doctor.facts.process import Syscall, Trace

POLLS = frozenset(("poll", "ppoll", "select", "pselect6", "epoll_wait", "epoll_pwait", "epoll_pwait2"))
ASKS = frozenset(("accept", "accept4", "read", "readv", "recv", "recvfrom", "recvmsg", "recvmmsg"))
MOVES = frozenset(("recvfrom", "recvmsg", "sendto", "sendmsg", "recv", "send"))
AGAIN = ("EAGAIN", "EWOULDBLOCK")


@dataclass(slots=True)
class Traced:
    """What one run of strace saw."""

    pid: int
    seconds: float | None
    followed: bool
    at: Place | None
    list: list[Syscall] = field(default_factory=list)

    def calls(self, names: frozenset[str]) -> int:
        """Return how many calls of these names there were."""
        return sum(call.calls for call in self.list if call.name in names)

    def of(self, names: frozenset[str]) -> "list[Syscall]":
        """Return the calls of these names, the most frequent first."""
        return sorted((call for call in self.list if call.name in names), key=lambda call: -call.calls)


def traced(case: Case) -> list[Traced]:
    """Return each trace with its calls."""
    found: dict[tuple[str, int], Traced] = {}
    for call in case.all(Syscall):
        name = (call.at.source, call.at.order)
        if name not in found:
            found[name] = Traced(call.pid, None, False, None)
        found[name].list.append(call)
    for trace in case.all(Trace):
        if one := found.get((trace.at.source, trace.at.order)):
            one.seconds, one.followed, one.at = trace.seconds, trace.followed, trace.at
    return list(found.values())


def asking_in_vain(trace: Traced) -> list[Syscall]:
    """Return the calls that ask a descriptor and failed, by EAGAIN where that is known; of threads together, most failures first."""
    vain = [
        call
        for call in trace.list
        if call.name in ASKS and call.errors and (not call.errnos or any(name in AGAIN for name, _ in call.errnos))
    ]
    return sorted(vain, key=lambda call: -call.errors)
