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
    syscalls: list[Syscall] = field(default_factory=list)

    def holds(self, at: Place) -> bool:
        """Return whether a place is of this trace."""
        first = self.syscalls[0].at
        return (at.source, at.order) == (first.source, first.order)

    def calls(self, names: frozenset[str]) -> int:
        """Return how many calls of these names there were."""
        return sum(call.calls for call in self.syscalls if call.name in names)

    def of(self, names: frozenset[str]) -> list[Syscall]:
        """Return the calls of these names, the most frequent first."""
        return sorted((call for call in self.syscalls if call.name in names), key=lambda call: -call.calls)


def traced(case: Case) -> list[Traced]:
    """Return each trace with its calls."""
    found: dict[tuple[str, int], Traced] = {}
    for call in case.all(Syscall):
        name = (call.at.source, call.at.order)
        if name not in found:
            found[name] = Traced(call.pid, None, False, None)
        found[name].syscalls.append(call)
    for trace in case.all(Trace):
        if one := found.get((trace.at.source, trace.at.order)):
            one.seconds, one.followed, one.at = trace.seconds, trace.followed, trace.at
    return list(found.values())


@dataclass(slots=True)
class Vain:
    """Calls of one name that ask a descriptor and failed, of all threads together."""

    name: str
    at: Place
    calls: int = 0
    errors: int = 0
    again: int = 0
    """Of the errors those that are known to be EAGAIN."""
    told: bool = False
    """Whether the trace says which errors they are."""
    tids: set[int] = field(default_factory=set)


def asking_in_vain(trace: Traced) -> list[Vain]:
    """Return by name the calls that ask a descriptor and failed, by EAGAIN where that is known; most failures first."""
    found: dict[str, Vain] = {}
    for call in trace.syscalls:
        if call.name in ASKS and call.errors and (not call.errnos or any(name in AGAIN for name, _ in call.errnos)):
            one = found.setdefault(call.name, Vain(call.name, call.at))
            one.calls += call.calls
            one.errors += call.errors
            one.again += sum(count for name, count in call.errnos if name in AGAIN)
            one.told = one.told or bool(call.errnos)
            one.tids.add(call.tid or trace.pid)
    return sorted(found.values(), key=lambda one: -one.errors)


def surely_again(case: Case, pid: int, name: str) -> bool:
    """Return whether the lines of any trace of the process show that this call fails with EAGAIN."""
    return any(
        call.pid == pid and call.name == name and any(error in AGAIN for error, _ in call.errnos) for call in case.all(Syscall)
    )
