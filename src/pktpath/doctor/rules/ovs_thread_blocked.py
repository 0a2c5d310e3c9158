"""A thread of ovs-vswitchd was busy with one thing, or did not run, for more than a second.

Each thread comes back to its poll loop after a piece of work. When that takes longer than a second it says `Unreasonably long …
poll interval`, with the CPU time it used meanwhile; and a thread that waits for all others to pass says who is late (`blocked …
waiting for … to quiesce`). While the main thread is away nobody answers OpenFlow, ovs-vsctl, LACP and BFD of bonds and tunnels;
while handlers are, upcalls wait; while a revalidator is, statistics and changed flows do.

Speaks when a thread was late at least three times, or once for five seconds. Silent about hw_offload threads that used no CPU:
they wait for work in a way that Open vSwitch 3.1 takes for being late (seen with an idle one: 40218 ms, 24 ms user). Silent about
logs of other daemons that look alike; where nothing tells whose a log is, it says so.
Source: lib/timeval, lib/ovs-rcu of Open vSwitch.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from pktpath.doctor.case import Case
from pktpath.doctor.facts.host import LogMessage
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.rules._ovs import some

OFTEN = 3
LONG = 5000
_LATE = re.compile(
    r"timeval(?:\(([^)|]+)\))?\|WARN\|Unreasonably long (\d{1,9})ms poll interval \((\d{1,9})ms user, (\d{1,9})ms system\)"
)
_WAITED = re.compile(r"ovs_rcu(?:\([^)|]+\))?\|WARN\|blocked (\d{1,9}) ms waiting for ([\w/:.-]{1,40}) to quiesce")
_SPENT = re.compile(r"ofproto_dpif_upcall\(([^)|]+)\)\|INFO\|Spent an unreasonably long (\d{1,9})ms dumping flows")
_MEANS = {
    "main": "Meanwhile nobody answers OpenFlow controllers, ovs-vsctl, LACP or BFD, and ports are neither added nor removed.",
    "handler": "Meanwhile packets without a megaflow wait, and are lost when their buffers are full.",
    "revalidator": "Meanwhile changed flow tables do not reach the traffic, statistics stand still and idle megaflows stay.",
    "pmd": "Meanwhile the queues of this thread are not emptied, and packets are lost when their rings are full.",
    "urcu": "Meanwhile memory that others gave back is not freed.",
}
_UNNAMED = "The log does not say whose it is: ovs-vswitchd, ovn-controller, ovn-northd and ovsdb-server all log in this form."


class _Late(NamedTuple):
    message: LogMessage
    ms: int
    cpu: int | None
    """Milliseconds; None where the message does not say."""


@rule(
    LogMessage,
    ask="ovs-vswitchd.log",
    well="No thread of ovs-vswitchd was late in its log.",
    topic="ovs-vswitchd",
)
def ovs_thread_blocked(case: Case) -> Iterator[Finding]:
    """One finding a kind of thread."""
    kinds: dict[tuple[str, str], list[_Late]] = defaultdict(list)
    for message in (one for one in case.all(LogMessage) if one.program in {"ovs-vswitchd", ""}):
        who = message.program
        if found := _LATE.match(message.message):
            late = _Late(message, int(found[2]), int(found[3]) + int(found[4]))
            if not (found[1] or "").startswith("hw_offload") or (late.cpu or 0) * 2 > late.ms:
                kinds[who, _kind(found[1] or "main")].append(late)
        elif found := _WAITED.match(message.message):
            kinds[who, _kind(found[2])].append(_Late(message, int(found[1]), None))
        elif found := _SPENT.match(message.message):
            kinds[who, _kind(found[1])].append(_Late(message, int(found[2]), None))
    for (who, kind), found_late in kinds.items():
        longest = max(found_late, key=lambda late: late.ms)
        if len(found_late) < OFTEN and longest.ms < LONG:
            continue
        told = [late for late in found_late if late.cpu is not None]
        share = 100 * sum(late.cpu or 0 for late in told) // max(1, sum(late.ms for late in told)) if told else None
        times = f"{len(found_late)} messages" if len(found_late) > 1 else "one message"
        cpu = f" with {share} % of that time on a CPU" if share is not None else ""
        yield Finding(
            severity=Severity.WARNING,
            confidence=Confidence.LIKELY if who else Confidence.POSSIBLE,
            summary=f"{_name(kind)} of {who or 'a daemon of Open vSwitch or OVN'} did not come round for up to {longest.ms} ms"
            f"{cpu} ({times}).",
            evidence=some([longest.message.at, *(late.message.at for late in found_late)]),
            why=(_MEANS.get(kind, "Meanwhile its work waits.") if who else _UNNAMED) + _reason(share),
            about=f"{kind} thread",
            proof="utilities/usdt-scripts/kernel_delay.py of Open vSwitch on its process tells system calls, ready and "
            "stopped time of each thread; perf top -p PID what it computes",
        )


def _reason(share: int | None) -> str:
    if share is None:
        return ""
    if share >= 60:
        return " It was computing most of that time: large changes of flow tables, routes or ports."
    return " It did not run for much of that time: no free CPU, a slow system call, or memory that had to come from disk."


def _kind(thread: str) -> str:
    """Return `handler` of handler91; main for the names that the main thread has had."""
    name = re.sub(r"[-/]?\w*\d+.*$", "", thread) if thread.startswith("pmd-c") else re.sub(r"\d+$", "", thread)
    return "main" if name in {"ovs-vswitchd", "main", ""} else name


def _name(kind: str) -> str:
    return f"The {kind} thread" if kind == "main" else f"A {kind} thread"
