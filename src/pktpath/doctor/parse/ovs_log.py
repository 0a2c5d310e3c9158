"""ovs-vswitchd.log: the lines that say something of the packet path; a log may be long, and most of it is not.

A line is `TIME|NUMBER|MODULE(THREAD)|LEVEL|TEXT`; the fact's message is what stands behind the number. Of each kind of message,
which is its text without its numbers, the first and the last ones are kept. Source: vlog in ovs-appctl(8).
"""

import re
from collections import deque
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.host import LogMessage
from pktpath.doctor.parse.section import Line, Section, parser

_MODULES = frozenset({
    "timeval", "ovs_rcu", "dpdk", "netdev_dpdk", "netdev_offload", "netdev_offload_dpdk", "netdev_offload_tc", "dpif_netdev",
    "dpif", "dpif_netlink", "dpif_offload", "ofproto_dpif_upcall", "bridge", "netdev_linux", "netdev_afxdp", "tunnel",
    "odp_execute", "tc", "netlink_socket",
})  # fmt: skip
_LEVELS = frozenset({"EMER", "ERR", "WARN", "INFO"})
_CHATTY = frozenset({"bridge", "dpif_netdev", "netdev_dpdk", "dpdk", "tc", "netdev_offload"})
"""Modules whose INFO tells what was configured."""
_OWN = re.compile(
    r"\|(?:ofproto\w*|dpif\w*|netdev_\w+|bridge|dpdk|tc|odp_\w+|tunnel)\||\((?:handler|revalidator|pmd|hw_offload)[\w-]*\)\|"
    r"|\(ovs-vswitchd\)\||waiting for (?:pmd|handler|revalidator|ovs-vswitchd)|NETLINK_|AF_PACKET|\bhandlers:\d|\bofconns:\d"
)
_OTHERS = {
    "ovsdb-server": re.compile(r"\|(?:ovsdb_(?!idl)\w+|raft|storage|replication)\||\|memory\|INFO\|.*\bcells:\d"),
    "ovn-controller": re.compile(r"\|(?:binding|ofctrl|pinctrl|lflow|lflow_cache|if_status|encaps)[(|]|\blflow_cache"),
    "ovn-northd": re.compile(r"\|(?:ovn_northd|northd|en_\w+|inc_proc_northd)\||OVN_Northbound"),
}
"""What only ovs-vswitchd writes, and what only the other daemons that log in this form do."""
_FIRST = _LAST = 20
_KINDS = 1000


@parser(
    "ovs-vswitchd.log",
    command=r"(?:cat|tail|less|grep|head|zcat|zgrep)\s.*ovs-vswitchd\S*\.log",
    shape=r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z\|\d{1,12}\|",
    file=r"ovs-vswitchd[^/]*\.log",
    bulk=True,
)
def messages(section: Section) -> Iterator[Fact]:
    """The telling lines, the first and the last few of each kind."""
    named = f"{section.source} {section.command}"
    program = next((name for name in ("ovs-vswitchd", *_OTHERS) if name in named), "")
    kept: list[tuple[Line, str]] = []
    kinds: dict[str, tuple[int, deque[tuple[Line, str]]]] = {}
    for line in section.lines:
        program = program or _whose(line.text)
        parts = line.text.split("|", 4)
        if len(parts) < 5 or (module := parts[2].partition("(")[0]) not in _MODULES or parts[3] not in _LEVELS:
            continue
        text = parts[4]
        if (parts[3] == "INFO" and module in _CHATTY and "non-isolated" not in text) or (
            module == "timeval" and not text.startswith("Unreasonably")
        ):
            continue
        kind = module + re.sub(r"\d+", "", text[:80])
        if kind not in kinds and len(kinds) >= _KINDS:
            continue
        count, last = kinds.get(kind, (0, deque(maxlen=_LAST)))
        kinds[kind] = (count + 1, last)
        message = f"{parts[2]}|{parts[3]}|{text}"
        if count < _FIRST:
            kept.append((line, message))
        else:
            last.append((line, message))
    for _, last in kinds.values():
        kept += last
    for line, message in kept:
        yield LogMessage(at=section.place(line), program=program, message=message)


def _whose(text: str) -> str:
    """Return the daemon that a line can only be of; empty for those that any of them writes."""
    text = text[:400]
    return "ovs-vswitchd" if _OWN.search(text) else next((name for name, known in _OTHERS.items() if known.search(text)), "")
