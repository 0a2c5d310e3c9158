"""Bridges, upcalls, memory and events as ovs-appctl 3.1 tells of them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from zlib import crc32

from pktpath.switch.views import DatapathView

LOCAL = 65534
"""OpenFlow number of a bridge's own port."""


class Learned(NamedTuple):
    """An address that a bridge has learned."""

    port: int
    """OpenFlow number."""
    vlan: int
    mac: int
    age: int | None
    """Seconds since it was last seen, None for one that was set by hand."""


def fdb_show(entries: Sequence[Learned]) -> str:
    """Return the text of `fdb/show`, in the order given."""
    rows = [" port  VLAN  MAC                Age"]
    for entry in entries:
        port = "LOCAL" if entry.port == LOCAL else str(entry.port)
        mac = ":".join(f"{byte:02x}" for byte in entry.mac.to_bytes(6, "big"))
        age = "static" if entry.age is None else f"{entry.age:3d}"
        rows.append(f"{port:>5}  {entry.vlan:4d}  {mac}  {age}")
    return "".join(f"{row}\n" for row in rows)


class FdbStatistics(NamedTuple):
    """What a bridge's table of addresses has seen."""

    current: int
    maximum: int
    static: int
    learned: int
    expired: int
    evicted: int
    moved: int


def fdb_stats_show(bridge: str, table: FdbStatistics) -> str:
    """Return the text of `fdb/stats-show`."""
    return (
        f'Statistics for bridge "{bridge}":\n'
        f"  Current/maximum MAC entries in the table: {table.current}/{table.maximum}\n"
        f"  Current static MAC entries in the table : {table.static}\n"
        f"  Total number of learned MAC entries     : {table.learned}\n"
        f"  Total number of expired MAC entries     : {table.expired}\n"
        f"  Total number of evicted MAC entries     : {table.evicted}\n"
        f"  Total number of port moved MAC entries  : {table.moved}\n"
    )


class UpcallView(NamedTuple):
    """What the revalidator of a datapath tells."""

    average: int
    """Megaflows, on the average of its rounds."""
    maximum: int
    limit: int
    duration_ms: int
    """Of its last round."""
    revalidators: tuple[tuple[int, int], ...]
    """Number of each, and how many megaflows it looks after."""


def upcall_show(view: DatapathView, upcalls: UpcallView) -> str:
    """Return the text of `upcall/show`."""
    counts = f"(current {view.flows}) (avg {upcalls.average}) (max {upcalls.maximum}) (limit {upcalls.limit})"
    rows = [
        f"{view.name}:",
        f"  flows         : {counts}",
        f"  dump duration : {upcalls.duration_ms}ms",
        "  ufid enabled : true",
        "",
    ]
    rows += [f"  {number}: (keys {keys})" for number, keys in upcalls.revalidators]
    return "".join(f"{row}\n" for row in rows)


def memory_show(usage: Mapping[str, int]) -> str:
    """Return the text of `memory/show`: what there is of each, by name."""
    return " ".join(f"{name}:{count}" for name, count in sorted(usage.items())) + "\n"


class Event(NamedTuple):
    """How often something happened."""

    name: str
    second: float
    """Times a second, in the last five."""
    minute: float
    """Times a second, in the last minute."""
    hour: float
    """Times a second, in the last hour."""
    total: int


def coverage_show(events: Sequence[Event]) -> str:
    """Return the text of `coverage/show`: what happened, in the order given, and how many events never did."""
    hit = [event for event in events if event.total]
    mark = crc32(" ".join(event.name for event in hit).encode())
    rows = [f"Event coverage, avg rate over last: 5 seconds, last minute, last hour,  hash={mark:08x}:"]
    for event in hit:
        rates = f"{event.second:5.1f}/sec {event.minute:9.3f}/sec {event.hour:13.4f}/sec"
        rows.append(f"{event.name:<24} {rates}   total: {event.total}")
    rows.append(f"{len(events) - len(hit)} events never hit")
    return "".join(f"{row}\n" for row in rows)
