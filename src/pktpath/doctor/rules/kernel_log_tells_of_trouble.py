"""The kernel's log tells of trouble with a device or with frames.

- `NETDEV WATCHDOG … transmit queue N timed out`: a device took no frame for five seconds or more, and its driver was told to
  start it anew. What waited is lost, and everything stands still meanwhile.
- `hw csum failure`: the card said of a frame that its checksum is this, and the kernel found another one.
- `possible SYN flooding`: a listening socket had no room for half-open connections, and the kernel answers with cookies, if it
  may.
- `received packet … with own address as source address`: a frame of the bridge came back to it, so there is a loop, or two hosts
  have one address.

Speaks, as a warning, of each kind and device that the log has: lines may be old, so it is never certain.
Silent without such lines. Source: net/sched/sch_generic.c, net/core/dev.c, net/ipv4/tcp_input.c, net/bridge/br_fdb.c.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from pktpath.doctor.case import Case
from pktpath.doctor.facts.host import LogMessage
from pktpath.doctor.finding import Confidence, Finding, Severity, rule


class _Trouble(NamedTuple):
    line: re.Pattern[str]
    says: str
    why: str
    proof: str


_TROUBLE = (
    _Trouble(
        re.compile(r"NETDEV WATCHDOG: (?!CPU)(?P<dev>\S{1,32}) \(|(?P<other>\S{1,32}): NETDEV WATCHDOG: "),
        "{dev} took no frame to send for seconds, and its driver had to start it anew",
        "The queue was stopped and the device did not say that it had sent anything: a fault of the card, its firmware or "
        "driver, or a port at the other end that sends pause frames without end. All that waited in the queue is lost each "
        "time.",
        "ethtool -S {dev}: tx_timeout and pause frames that arrived; ethtool -i {dev} for driver and firmware; is it gone "
        "with ethtool -K {dev} tso off, with ethtool --set-eee {dev} eee off, or with pause off (ethtool -A)?",
    ),
    _Trouble(
        re.compile(r"(?P<dev>\S{1,32}): hw csum failure"),
        "{dev} reports checksums that are wrong",
        "The card hands the kernel a sum of the frame's bytes, and it does not fit: a fault of the driver or card, most often "
        "with tunnels, VLAN tags or padding. The kernel sums such frames itself, and delivers those that are right.",
        "Do the lines stop with ethtool -K {dev} rx off? Then the CPU checks all sums, until the driver is a better one.",
    ),
    _Trouble(
        re.compile(r"(?i)possible syn flooding on port (?P<dev>[^\s.]{1,60})"),
        "more connections began at port {dev} than its socket had room for",
        "Half-open connections filled the queue of a listening socket: somebody floods it, the program accepts too slowly, or "
        "asked for a short queue in listen(2).",
        "ss -ltn: Send-Q is the length of the queue; nstat -zas TcpExtTCPReqQFullDoCookies TcpExtListenOverflows twice; from "
        "how many addresses do the SYNs come?",
    ),
    _Trouble(
        re.compile(r"received packet on (?P<dev>\S{1,32}) with own address"),
        "frames of the bridge come back to it on {dev}",
        "A frame with the bridge's own source address arrived: there is a loop in the network (or a bond whose members hand "
        "back what the switch floods), or two hosts have one address. Learned addresses move to and fro, and frames are lost.",
        "bridge fdb show; is spanning tree on at the switches? Are both ports of a bond in one channel there?",
    ),
)  # fmt: skip


@rule(LogMessage, ask="dmesg", well="The kernel's log tells of no trouble with devices or frames.", topic="link")
def kernel_log_tells_of_trouble(case: Case) -> Iterator[Finding]:
    """One finding for each kind and device."""
    found: dict[tuple[int, str], list[LogMessage]] = {}
    for one in case.all(LogMessage):
        for kind, trouble in enumerate(_TROUBLE):
            if one.program == "kernel" and (line := trouble.line.search(one.message[:400])):
                names = line.groupdict()
                found.setdefault((kind, names["dev"] or names.get("other") or ""), []).append(one)
    for (kind, dev), lines in found.items():
        trouble = _TROUBLE[kind]
        many = f"{len(lines)} lines" if len(lines) > 1 else "one line"
        yield Finding(
            severity=Severity.WARNING,
            confidence=Confidence.LIKELY,
            summary=f"The kernel's log says in {many} that {trouble.says.format(dev=dev)}.",
            evidence=tuple(one.at for one in (lines[-1], *lines[:3])[: len(lines)]),
            why=trouble.why,
            about=dev,
            proof=trouble.proof.format(dev=dev),
        )
