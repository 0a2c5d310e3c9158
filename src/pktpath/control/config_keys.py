"""Every key that a configuration may have: who reads its value, what it is without, what it means.

docs/switch.md has the same tables, and a test compares them.
"""

import ipaddress
import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from pktpath.features import feature_named, nearest_names

MOST_QUEUES = 64
"""`port.live.MAX_QUEUES`; a test compares them, as that module imports numpy."""
MOST_INTERFACE = 15
"""IFNAMSIZ - 1."""
PORT_TYPES = ("packet", "tap", "xdp", "pcap", "memory")
MODES = {"packet": ("auto", "ring", "mmsg"), "xdp": ("auto", "native", "generic")}
"""What `mode` may be for the types of ports that have it."""
KERNEL = ("packet", "xdp")
"""Types that stand on an interface which is there without us."""


class Wrong(Exception):  # noqa: N818  it is turned into BadInput at once
    """What a value must be, and what it is instead."""

    def __str__(self) -> str:
        return f"must be {self.args[0]}"


class Fault(Wrong):
    """What is wrong with a value of the right kind, as a sentence."""

    def __str__(self) -> str:
        return str(self.args[0])


class Key(NamedTuple):
    """One key of a table."""

    read: Callable[[object], Any]
    default: str
    """What holds without it, in words."""
    text: str
    types: tuple[str, ...] = ()
    """Types of ports that have it; all where empty."""


def shown(value: object) -> str:
    """Return a value of the file as a short piece of text."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "..."


def whole(least: int, most: int) -> Callable[[object], int]:
    """Read a whole number."""

    def read(value: object) -> int:
        if type(value) is not int or not least <= value <= most:
            message = f"a whole number from {least} to {most}, not {shown(value)}"
            raise Wrong(message)
        return value

    return read


def one_of(*words: str) -> Callable[[object], str]:
    """Read one of some words."""

    def read(value: object) -> str:
        if value not in words:
            message = f"{' or '.join(words)}, not {shown(value)}"
            raise Wrong(message)
        return str(value)

    return read


def boolean(value: object) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        message = f"true or false, not {shown(value)}"
        raise Wrong(message)
    return value


def text(value: object) -> str:
    """Read a string with something in it that can be printed."""
    if not isinstance(value, str) or not value or not value.isprintable():
        message = f"a string, not {shown(value)}"
        raise Wrong(message)
    return value


def name(value: object) -> str:
    """Read the name of a bridge, a port or an interface."""
    word = text(value)
    if len(word.encode()) > MOST_INTERFACE or re.search(r"[\s/:,]", word) or word in (".", ".."):
        message = f"a name of up to {MOST_INTERFACE} bytes without space, slash, colon or comma, not {shown(value)}"
        raise Wrong(message)
    return word


def list_of(read: Callable[[object], Any]) -> Callable[[object], tuple[Any, ...]]:
    """Read a list of values, each of which stands once."""

    def read_all(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list):
            message = f"a list, not {shown(value)}"
            raise Wrong(message)
        found = tuple(map(read, value))
        if double := next((item for item in found if found.count(item) > 1), None):
            message = f"{shown(double)} is there twice"
            raise Fault(message)
        return found

    return read_all


def address(value: object) -> str:
    """Read an address with the length of its prefix."""
    word = text(value)
    try:
        found = ipaddress.ip_interface(word)
    except ValueError:
        found = None
    if found is None or "/" not in word:
        message = f"an IPv4 or IPv6 address with the length of its prefix, as 10.0.0.1/24, not {shown(value)}"
        raise Wrong(message)
    return str(found)


def mac(value: object) -> str:
    """Read an Ethernet address of one station."""
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}", value):
        message = f"six bytes in hexadecimal with colons between, not {shown(value)}"
        raise Wrong(message)
    if int(value[:2], 16) & 1 or not int(value.replace(":", ""), 16):
        message = f"the address of one station, not {shown(value)}"
        raise Wrong(message)
    return value.lower()


def features(value: object) -> tuple[tuple[str, bool], ...]:
    """Read a table of features, each true or false."""
    if not isinstance(value, dict):
        message = f"a table of features, as {{gro = false}}, not {shown(value)}"
        raise Wrong(message)
    for word, on in value.items():
        try:
            feature_named(word)
        except KeyError:
            near = nearest_names(word)
            message = f"no feature is named {shown(word)}" + (f"; nearest: {', '.join(near)}" if near else "")
            raise Fault(message) from None
        if not isinstance(on, bool):
            message = f"{word} is true or false, not {shown(on)}"
            raise Fault(message)
    return tuple(value.items())


def endpoint(value: object) -> tuple[str, int]:
    """Read ADDRESS:PORT."""
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^:\s]*)):(\d{1,5})", value) if isinstance(value, str) else None
    if match is None or not 0 <= int(match[3]) <= 65535:
        message = f"an address and a port, as 127.0.0.1:9475, not {shown(value)}"
        raise Wrong(message)
    return match[1] or match[2] or "127.0.0.1", int(match[3])


SWITCH = {
    "name": Key(name, "pktpath", "name of the control socket (NAME.ctl) and of the pid file (NAME.pid) in `run_dir`"),
    "run_dir": Key(text, "see below", "directory of control socket and pid file"),
    "state_dir": Key(text, "see below", "directory of what a restart needs"),
    "metrics": Key(endpoint, "off", "address and port for Prometheus, as 127.0.0.1:9475"),
    "schedule": Key(one_of("interrupt", "poll"), "interrupt", "sleep until frames come, or poll on cores of its own"),
    "cores": Key(list_of(whole(0, 4095)), "any one", "cores of the workers, one each; `poll` needs at least one"),
    "sleep_max_us": Key(whole(0, 10_000), "0", "longest sleep of an idle poller in microseconds; 0 never sleeps"),
    "rx_delay_us": Key(whole(0, 10_000), "0", "microseconds that a woken worker waits for more frames to merge"),
    "weight": Key(whole(1, 256), "64", "most frames in one poll of a queue"),
    "emc": Key(boolean, "true", "the exact-match cache"),
    "emc_insert_inv_prob": Key(whole(0, 2**32 - 1), "100", "one frame in so many enters the cache; 0 for none"),
    "flow_limit": Key(whole(1, 10_000_000), "200000", "most megaflows"),
    "max_idle_ms": Key(whole(100, 3_600_000), "10000", "a megaflow unused for so many milliseconds goes"),
    "upcall_queue": Key(whole(16, 1 << 20), "4096", "most frames that wait for the slow path; more are lost, and counted"),
    "controller_rate": Key(whole(0, 1_000_000), "1000", "most frames a second to the controller action; 0 for no limit"),
    "user": Key(text, "stay", "become this user once all is open, and keep CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF and CAP_IPC_LOCK"),
}
"""Keys of [switch]."""
BRIDGE = {
    "fail_mode": Key(
        one_of("standalone", "secure"), "standalone", "without flows in the file: do NORMAL (standalone), or drop (secure)"
    ),
    "mac_aging": Key(whole(15, 3600), "300", "a learned address unused for so many seconds goes"),
    "mac_table_size": Key(whole(10, 1_000_000), "8192", "most learned addresses"),
    "mtu": Key(whole(68, 65535), "the port's", "MTU of ports that do not name their own"),
    "local": Key(lambda value: value, "off", "the bridge's own port; a table, see below"),
    "flows": Key(list_of(text), "none", "flows in ovs-ofctl's syntax"),
    "flows_file": Key(text, "none", "a file with one flow a line, as `ovs-ofctl add-flows` takes it; loaded after `flows`"),
    "groups": Key(list_of(text), "none", "groups in ovs-ofctl's syntax"),
    "meters": Key(list_of(text), "none", "meters in ovs-ofctl's syntax"),
    "mirror": Key(lambda value: value, "none", "tables [bridge.BRIDGE.mirror.NAME], see below"),
    "port": Key(lambda value: value, "none", "tables [bridge.BRIDGE.port.NAME], see below"),
}
"""Keys of [bridge.NAME]."""
LOCAL = {
    "address": Key(list_of(address), "none", "addresses of the host on this bridge"),
    "mac": Key(mac, "random", "its Ethernet address"),
    "netns": Key(text, "the daemon's", "network namespace (`ip netns`) in which it appears"),
    "mtu": Key(whole(68, 65535), "the bridge's", "its MTU"),
    "features": Key(features, "all that it can", "what pktpath does on it, as {tso = false}"),
}
"""Keys of [bridge.NAME.local]."""
MIRROR = {
    "select_all": Key(boolean, "false", "every frame of the bridge"),
    "select_src": Key(list_of(name), "none", "frames that come in by these ports"),
    "select_dst": Key(list_of(name), "none", "frames that go out by these ports"),
    "output_port": Key(name, "none", "port that the copies go to; it carries nothing else"),
}
"""Keys of [bridge.NAME.mirror.NAME]."""
PORT = {
    "type": Key(one_of(*PORT_TYPES), "must be there", "what the port is"),
    "interface": Key(name, "the port's name", "the kernel's interface", ("packet", "tap", "xdp")),
    "openflow": Key(whole(1, 0xFEFF), "the first free", "number of the port in flows"),
    "queues": Key(whole(1, MOST_QUEUES), "1; xdp: all", "receive queues", ("packet", "tap", "xdp", "memory")),
    "mode": Key(text, "auto", "packet: ring or mmsg; xdp: native or generic; auto takes what carries more", tuple(MODES)),
    "netns": Key(text, "the daemon's", "network namespace (`ip netns`) of the interface", ("packet", "tap", "xdp")),
    "mtu": Key(whole(68, 65535), "as it is", "MTU of the interface while the switch runs", ("packet", "tap", "xdp")),
    "tag": Key(whole(0, 4095), "none", "an access port of this VLAN"),
    "trunks": Key(list_of(whole(0, 4095)), "all", "VLANs that a trunk port carries"),
    "features": Key(features, "all that it can", "what pktpath does on the port, as {gro = false}"),
    "device_features": Key(features, "as they are", "features of the kernel's interface while the switch runs", KERNEL),
    "rx_file": Key(text, "none", "capture whose frames arrive", ("pcap",)),
    "tx_file": Key(text, "none", "capture that takes what is sent; without it, that is counted and forgotten", ("pcap",)),
    "qdisc_bypass": Key(boolean, "false", "send around the queueing discipline: quicker, and nothing is queued", ("packet",)),
    "loop": Key(boolean, "false", "begin `rx_file` again at its end, for load", ("pcap",)),
}
"""Keys of [bridge.NAME.port.NAME]."""
