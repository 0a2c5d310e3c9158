"""`ifconfig` in both of its layouts: devices and counters. Source: ifconfig(8) of net-tools, its lib/interface.c.

It reads /proc/net/dev, where some counters are sums of the kernel's (`dev_seq_printf_stats`, net/core/net-procfs.c): dropped
holds missed frames too, frame all of length, overrun, CRC and frame errors, carrier all of aborted, window and heartbeat
errors. Those get names of their own, as they must not be compared with what `ip -s link` says.
"""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact, Place
from pktpath.doctor.facts.device import Link
from pktpath.doctor.facts.host import Counter
from pktpath.doctor.parse._values import number
from pktpath.doctor.parse.section import Line, Section, parser

_NEW = re.compile(r"([^\s:]{1,32}): flags=[0-9]{1,9}<([A-Z0-9_,-]{0,300})>\s+mtu ([0-9]{1,9})")
_OLD = re.compile(r"([^\s:]{1,32})\s+Link encap:(\S+)")
_MTU = re.compile(r"\s+([A-Z][A-Z ]{0,200}?)\s+MTU:([0-9]{1,9})\s")
_SIDE = re.compile(r"\s+(RX|TX) ([a-z].{0,300})$")
_WORD = re.compile(r"\b([a-z]+)[: ]\s?([0-9]{1,20})(?![0-9.])")
_BYTES = re.compile(r"\b(RX|TX) bytes:([0-9]{1,20})")
_COLLISIONS = re.compile(r"\s+collisions:([0-9]{1,20})\b")
_NAMES = {
    "overruns": "fifo_errors", "dropped": "dropped_and_missed", "frame": "frame_and_other_errors",
    "carrier": "carrier_and_other_errors",
}  # fmt: skip


@parser("ifconfig", command=r"ifconfig(?=\s|$)", shape=r"[^\s:]{1,32}+(?:: flags=[0-9]{1,9}<[A-Z]|\s+Link encap:)")
def ifconfig(section: Section) -> Iterator[Fact]:
    """A device with its indented lines."""
    device: tuple[Place, str] | None = None
    flags: frozenset[str] = frozenset()
    mtu = 0
    for line in section.lines:
        new, old = _NEW.match(line.text), _OLD.match(line.text)
        if found := new or old:
            if device:
                yield _link(device, flags, mtu)
            device = (section.place(line), found[1])
            flags, mtu = (frozenset(new[2].split(",")), int(new[3])) if new else (frozenset(), 0)
        elif device and (old_flags := _MTU.match(line.text)):
            flags, mtu = frozenset(old_flags[1].split()), int(old_flags[2])
        elif device:
            yield from _counters(section, line, device[1])
    if device:
        yield _link(device, flags, mtu)


def _link(device: tuple[Place, str], flags: frozenset[str], mtu: int) -> Link:
    return Link(at=device[0], dev=device[1], index=0, flags=flags, mtu=mtu)


def _counters(section: Section, line: Line, dev: str) -> Iterator[Counter]:
    def counter(name: str, value: str) -> Counter:
        return Counter(at=section.place(line), group="link", owner=dev, name=name, value=number(value) or 0)

    if "bytes:" in line.text:
        for side, value in _BYTES.findall(line.text):
            yield counter(f"{side.lower()}_bytes", value)
    elif found := _SIDE.match(line.text):
        for name, value in _WORD.findall(found[2]):
            yield counter(name if name == "collisions" else f"{found[1].lower()}_{_NAMES.get(name, name)}", value)
    elif collisions := _COLLISIONS.match(line.text):
        yield counter("collisions", collisions[1])
