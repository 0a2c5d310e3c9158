"""`dpctl/show` and `upcall/show`: datapaths, their ports, their upcalls. Both begin with the name of the datapath.

Layouts of Open vSwitch 2.0 to 3.x: without masks and with them, `cache: hit:… hit-rate:…%`, `caches:`, and `?` for what a port
does not count. Source: ovs-dpctl(8), and Open vSwitch itself, which the tests ask.
"""

import re
from collections.abc import Iterator
from typing import Any

from pktpath.doctor.facts.base import Fact, Place
from pktpath.doctor.facts.host import Counter
from pktpath.doctor.facts.ovs import Datapath, DatapathPort, Upcalls
from pktpath.doctor.parse.ovs_words import whole
from pktpath.doctor.parse.section import Line, Section, parser

_NAME = r"\s{0,16}[a-z]\w{1,15}@[^\s:]{1,64}:\s*$"
_LOOKUPS = re.compile(r"lookups:\s*hit:(\d{1,19}) missed:(\d{1,19}) lost:(\d{1,19})")
_MASKS = re.compile(r"masks:\s*hit:(\d{1,19}) total:(\d{1,19})(?: hit/pkt:(\d{1,12}(?:\.\d{1,9})?))?")
_CACHE = re.compile(r"cache:\s*hit:(\d{1,19})")
_PORT = re.compile(r"port (\d{1,10}): (\S{1,64})(?: \(([^\s:)]*):?\s*(.*?)\)?)?$")
_PAIRS = re.compile(r"([a-z]+):(\d{1,19})(?!\d)")
_LIMITS = re.compile(r"flows\s*: \(current (\d{1,10})\) \(avg (\d{1,10})\) \(max (\d{1,10})\) \(limit (\d{1,10})\)")
_DUMP = re.compile(r"dump duration\s*: (\d{1,12})ms")
_OFFLOADED = re.compile(r"offloaded flows\s*: (\d{1,10})")
_NAMES = {
    "rx": {"packets": "rx_packets", "errors": "rx_errors", "dropped": "rx_dropped", "overruns": "rx_over_errors",
           "frame": "rx_frame_errors", "bytes": "rx_bytes"},
    "tx": {"packets": "tx_packets", "errors": "tx_errors", "dropped": "tx_dropped", "aborted": "tx_aborted_errors",
           "carrier": "tx_carrier_errors", "bytes": "tx_bytes"},
}  # fmt: skip


@parser(
    "dpctl/show",
    command=r"ovs-(?:appctl\s+(?:dpctl/show|upcall/show)|dpctl\s+(?:-\S+\s+)*(?:show|upcall/show))(?:\s|$)",
    shape=_NAME,
)
def datapaths(section: Section) -> Iterator[Fact]:
    """A datapath, its ports and what they counted; or its upcalls."""
    name, owner = "", ""
    seen: dict[str, Any] = {}
    for line in section.lines:
        text = line.text.strip()
        if "@" in text and re.match(_NAME, line.text):
            yield from _datapath(name, seen)
            name, owner, seen = text[:-1], "", {}
        elif text.startswith("port ") and (port := _PORT.match(text)):
            owner = f"{name} {port[2]}"
            kind, options = port[3] or "", port[4] or ""
            yield DatapathPort(
                at=section.place(line), datapath=name, number=int(port[1]), name=port[2], kind=kind, options=options
            )
        elif text.startswith(("RX ", "TX ", "collisions:")):
            if owner:
                yield from _counters(section, line, owner, text)
        elif name:
            _take(text, section.place(line), seen)
    yield from _datapath(name, seen)


def _take(text: str, place: Place, seen: dict[str, Any]) -> None:
    """Note a line about the whole datapath."""
    for word, pattern in (
        ("lookups", _LOOKUPS), ("masks", _MASKS), ("cache", _CACHE), ("limits", _LIMITS), ("dump duration", _DUMP),
        ("offloaded flows", _OFFLOADED),
    ):  # fmt: skip
        if found := pattern.match(text):
            seen[word] = (found, place)
            return
    if text.startswith("flows:") and (flows := whole(text[6:].strip())) is not None:
        seen["flows"] = (flows, place)


def _datapath(name: str, seen: dict[str, Any]) -> Iterator[Fact]:
    places = {"flows" if word == "limits" else word: place for word, (_, place) in seen.items()}
    if lookups := seen.get("lookups"):
        masks, cache = seen.get("masks"), seen.get("cache")
        yield Datapath(
            at=lookups[1], name=name, hit=int(lookups[0][1]), missed=int(lookups[0][2]), lost=int(lookups[0][3]),
            flows=seen["flows"][0] if "flows" in seen else 0,
            mask_hit=int(masks[0][1]) if masks else None, masks=int(masks[0][2]) if masks else None,
            hit_per_packet=float(masks[0][3]) if masks and masks[0][3] else None,
            cache_hit=int(cache[0][1]) if cache else None, places=places,
        )  # fmt: skip
    if limits := seen.get("limits"):
        dump, offloaded = seen.get("dump duration"), seen.get("offloaded flows")
        current, average, maximum, limit = map(int, limits[0].groups())
        yield Upcalls(
            at=limits[1], datapath=name, current=current, average=average, maximum=maximum, limit=limit,
            dump_ms=int(dump[0][1]) if dump else None, offloaded=int(offloaded[0][1]) if offloaded else None, places=places,
        )  # fmt: skip


def _counters(section: Section, line: Line, owner: str, text: str) -> Iterator[Fact]:
    way = ""
    for word in re.split(r"\b(RX|TX)\b", text):
        if word in {"RX", "TX"}:
            way = word.lower()
            continue
        for key, value in _PAIRS.findall(word):
            known = _NAMES.get(way, {}).get(key) or (key if key == "collisions" else "")
            if known:
                yield Counter(at=section.place(line), group="dpport", owner=owner, name=known, value=int(value))
