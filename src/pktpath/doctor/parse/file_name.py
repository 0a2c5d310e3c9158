"""Files named after the command that filled them, as sosreport and careful people do.

`ethtool_-k_eth0`, `ip_netns_exec_NS_ethtool_-S_tap0`, `ovs-appctl_dpctl.show_-s_system_ovs-system`, `h2_proc_net_snmp.15s`:
spaces and slashes became other letters, so that a name says less than the command did; what the output says itself counts
more. Source: sos/report/plugins (names), tests/evidence.
"""

import re
from typing import NamedTuple

_TIME = re.compile(r"\.(\d{1,9}(?:\.\d{1,3})?)s?$")
_ENDING = re.compile(r"\.(?:txt|log|out)$")
_TOOLS = (
    "conntrack", "dmesg", "ethtool", "ifconfig", "iperf3", "ip", "journalctl", "lscpu", "lsof", "mpstat", "netstat", "nstat",
    "numactl", "ovs-appctl", "ovs-dpctl", "ovs-ofctl", "ovs-vsctl", "perf", "ping", "pmap", "ps", "pstack", "ss", "strace",
    "sysctl", "tc", "top", "uname",
)  # fmt: skip
_TOOL = re.compile(rf"(?:(?P<scope>[A-Za-z0-9][\w.-]*?)_)?(?P<tool>{'|'.join(_TOOLS)})(?:_(?P<rest>.*))?$")
_PLAIN = re.compile(r"(?:(?P<scope>[A-Za-z0-9][\w.-]*?)_)?(?:proc|sys[_./](?:class|devices|kernel|module))[_./]\w")
_INSIDE = re.compile(r"ip_netns_exec_(?P<scope>[^_]+)_(?P<rest>.+)")


class Name(NamedTuple):
    """What the name of a file says."""

    command: str
    """`ethtool -k eth0`; empty where the name is no command."""
    scope: str
    when: float | None
    """Seconds: of `.0` and `.15s`."""


def command_in(name: str) -> Name:
    """Return what the last part of a path says."""
    base, when = _ENDING.sub("", name), None
    if found := _TIME.search(base):
        base, when = _ENDING.sub("", base[: found.start()]), float(found[1])
    scope = ""
    if inside := _INSIDE.match(base):
        scope, base = inside["scope"], inside["rest"]
    if plain := _PLAIN.match(base):
        return Name("", scope or plain["scope"] or "", when)
    tool = _TOOL.match(base)
    if not tool:
        return Name("", scope, when)
    return Name(f"{tool['tool']} {_words(tool['tool'], tool['rest'] or '')}".rstrip(), scope or tool["scope"] or "", when)


def _words(tool: str, rest: str) -> str:
    """Return the arguments with their spaces and slashes, as far as the name tells which they were."""
    words: list[str] = []
    pieces = rest.split("_")
    if tool == "ovs-appctl" and pieces[0]:
        words.append(pieces.pop(0).replace(".", "/", 1))
    while pieces and (pieces[0].startswith("-") or not words or tool != "ovs-appctl"):
        if tool == "ethtool" and words:
            break
        words.append(pieces.pop(0))
    if pieces:
        # What is left is one name: a device or a datapath may have an underscore in it.
        name = "_".join(pieces)
        words.append(re.sub(r"^(system|netdev)_", r"\1@", name) if tool == "ovs-appctl" else name)
    return " ".join(words)
