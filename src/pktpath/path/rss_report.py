"""The way of `pktpath rss`: which flow of a capture lands on which queue, what a better table or key would give.

capture ─ hash in three ways ─ flows and sums ─ imbalance, elephants, collapses ─ proposals
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pktpath.batch import FRAMES as COUNT
from pktpath.batch import Batch, release
from pktpath.offload.rss import DEFAULT_KEY, HASH_FIELDS, Rss, make_rss, rss_hash
from pktpath.offload.rss_headers import TUNNELS
from pktpath.offload.rss_key import (
    INDIRECTION_SIZE,
    KEYS,
    check_fields,
    check_queues,
    check_table,
    equal_table,
    key_text,
    table_words,
    weight_table,
)
from pktpath.path.rss_flows import (
    BYTES,
    FRAMES,
    INNER,
    MOST_FLOWS,
    NOW,
    TUNNEL_CAUSES,
    UDP_PORTS,
    WAYS,
    Cause,
    Flow,
    Flows,
    Tally,
    account,
    bucket_loads,
    count_pairs,
    describe,
    flow_hashes,
    grown,
    make_flows,
    make_tally,
)
from pktpath.path.rss_plan import MOST_KEYS, Search, Setting, best_keys, best_weights, imbalance, keys_tried, queue_loads
from pktpath.port.capture import open_capture

_BATCH = 4096
_LARGEST_WIRE_FRAME = 9216
"""Bytes of a jumbo frame: what is longer was merged before it was captured."""
_PROTOCOLS = {1: "ICMP", 2: "IGMP", 6: "TCP", 17: "UDP", 47: "GRE", 50: "ESP", 51: "AH", 58: "ICMPv6", 132: "SCTP"}
UNITS = ("frames", "bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a card is told, and how the report looks at it."""

    queues: int
    key: bytes = DEFAULT_KEY
    table: Sequence[int] = ()
    """The indirection table; empty: queues in turn."""
    fields: Mapping[str, str] = field(default_factory=HASH_FIELDS.copy)
    inner: bool = False
    by: str = "bytes"
    """What is to be balanced: frames or bytes."""
    top: int = 3
    """Flows named for each queue."""
    most_flows: int = MOST_FLOWS
    most_keys: int = MOST_KEYS
    """Keys that are tried, where flows are few."""
    device: str = "DEV"
    """The name in the commands that are proposed."""


@dataclass
class RssReport:
    """What `pktpath rss` found; every list is in an order that follows from the capture alone."""

    frames: int = 0
    bytes: int = 0
    queues: int = 0
    table: list[int] = field(default_factory=list)
    key: str = ""
    key_name: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    inner: bool = False
    by: str = "bytes"
    flows: int = 0
    flows_full: bool = False
    """More flows than the table holds: later ones count by queue only."""
    untold_frames: int = 0
    """Frames of flows that found no room."""
    imbalance: dict[str, float | None] = field(default_factory=dict)
    """Largest over mean of the queues, by frames and by bytes."""
    floor: float | None = None
    """No table and no key brings `by` below this: the largest flow, and what is on queue 0 without a hash."""
    per_queue: list[dict[str, Any]] = field(default_factory=list)
    elephants: list[dict[str, Any]] = field(default_factory=list)
    """Flows above a fair share of a queue, largest first."""
    collapsed: list[dict[str, Any]] = field(default_factory=list)
    """What is hashed by less than its addresses and ports, and what an option would change."""
    pairs: int = 0
    """Connections seen in both directions."""
    together: int = 0
    """Of these, with both directions on one queue."""
    long_frames: int = 0
    """Frames longer than a wire carries."""
    keys_tried: int = 0
    proposals: list[dict[str, Any]] = field(default_factory=list)
    """The present setting first, then those that are better by `by`, and symmetric ones."""
    undo: str = ""
    """The command that sets the present table and key again."""
    warnings: list[str] = field(default_factory=list)
    damaged: bool = False
    """The input ends too early or lies; what came before is counted."""


def rss_capture(
    source: str, card: Card, *, expression: str = "", progress: Callable[[int], None] = lambda _offset: None
) -> RssReport:
    """Hash every frame of a capture as a card would, and judge what that gives.

    Args:
        source: file name, or "-" for standard input.
        card: what the card is told.
        expression: pcap-filter expression; other frames are left out.
        progress: called with the offset reached in the input, in bytes.

    Raises:
        BadInput: an impossible setting.
        CaptureError: the capture cannot be read.

    """
    check_queues(card.queues)
    table = tuple(card.table) or equal_table(card.queues, INDIRECTION_SIZE)
    check_table(table, card.queues)
    fields = check_fields(card.fields)
    with_ports = fields | dict.fromkeys(("udp4", "udp6"), "sdfn")
    ways = [make_rss(card.key, table, fields, card.inner)]
    ways += [make_rss(card.key, table, fields, True), make_rss(card.key, table, with_ports, card.inner)]
    result = RssReport(
        queues=card.queues, table=list(table), key=key_text(card.key), fields=fields, inner=card.inner, by=card.by,
        undo=f"ethtool -X {card.device} {table_words(table, card.queues)} hkey {key_text(card.key)}",
        key_name=next((name for name, key in KEYS.items() if key == card.key), ""),
    )  # fmt: skip
    flows, tally = make_flows(), make_tally(len(table))
    hashes = np.zeros((WAYS, _BATCH), np.uint32)
    with open_capture(source, filter=expression or None, batch_size=_BATCH, recycle=True) as reader:
        for item in reader.kept_items():
            progress(reader.bytes_read)
            if isinstance(item, Batch):
                flows = _count(item, ways, hashes, flows, tally, card.most_flows)
                result.long_frames += int((item.wire_len[: item.used[COUNT]] > _LARGEST_WIRE_FRAME).sum())
                release(item)
        result.warnings = reader.warnings
        result.damaged = bool(reader.damage)
    _Judge(card, table, fields, ways[NOW], flows, tally).fill(result)
    return result


def _count(batch: Batch, ways: list[Rss], hashes: NDArray[np.uint32], flows: Flows, tally: Tally, most: int) -> Flows:
    """Count a batch; return the table of flows, which may have grown."""
    count = int(batch.used[COUNT])
    for way, rss in enumerate(ways):
        if way == NOW or rss.inner != ways[NOW].inner or (rss.choices != ways[NOW].choices).any():
            rss_hash(batch, 0, count, rss)
            hashes[way, :count] = batch.hash[:count]
        else:
            hashes[way, :count] = hashes[NOW, :count]
    done = 0
    while True:
        room = 2 * len(flows.keys) <= most
        done = int(account(batch, done, count, hashes, ways[NOW], flows, tally, not room))
        if done == count:
            return flows
        flows = grown(flows)


class _Judge:
    """Sums to words: everything that follows when the capture is read."""

    def __init__(self, card: Card, table: tuple[int, ...], fields: dict[str, str], rss: Rss, flows: Flows, tally: Tally) -> None:
        self.card, self.table, self.fields, self.rss, self.flows, self.tally = card, table, fields, rss, flows, tally
        self.unit = UNITS.index(card.by)
        self.count = int(flows.used[0])
        self.counts = flows.counts[: self.count]
        self.hashes = np.zeros(max(self.count, 1), np.uint32)
        flow_hashes(flows, rss, self.hashes)
        self.sums = tally.queues[NOW].sum(axis=0)[: card.queues]
        self.total = self.sums.sum(axis=0)

    def fill(self, result: RssReport) -> None:
        """Fill in what there is to say."""
        result.frames, result.bytes = (int(value) for value in self.total)
        result.flows = self.count
        result.untold_frames = int(self.tally.untold[FRAMES])
        result.flows_full = result.untold_frames > 0
        result.imbalance = _both(self.sums)
        self._queues(result)
        result.collapsed = [row for cause in list(Cause)[1:] if (row := self._collapsed(cause))]
        result.pairs, result.together = (int(value) for value in count_pairs(self.flows, self.hashes, self.rss))
        if result.frames:
            self._propose(result)

    def _queues(self, result: RssReport) -> None:
        hashes = self.hashes[: self.count].astype(np.int64)
        queue = np.where(hashes == 0, 0, np.array(self.table)[hashes & (len(self.table) - 1)])
        order = np.argsort(-self.counts[:, self.unit], kind="stable")
        for k in range(self.card.queues):
            rows = order[queue[order] == k]
            result.per_queue.append(
                {
                    "queue": k,
                    "frames": int(self.sums[k, FRAMES]),
                    "bytes": int(self.sums[k, BYTES]),
                    "share": self._share(self.sums[k]),
                    "flows": len(rows),
                    "top": [self._flow(int(row)) for row in rows[: self.card.top]],
                }
            )
        large = order[self.counts[order, self.unit] * self.card.queues > self.total[self.unit]]
        result.elephants = [self._flow(int(row)) | {"queue": int(queue[row])} for row in large] if self.card.queues > 1 else []
        if result.frames:
            largest = max(int(self.counts[:, self.unit].max(initial=0)), int(self.tally.unhashed[self.unit]))
            result.floor = max(largest * self.card.queues / int(self.total[self.unit]), 1.0)

    def _share(self, pair: NDArray[np.int64]) -> float:
        return int(pair[self.unit]) / max(int(self.total[self.unit]), 1)

    def _flow(self, row: int) -> dict[str, Any]:
        pair = self.flows.counts[row]
        return {
            "flow": flow_text(describe(self.flows, row)),
            "frames": int(pair[FRAMES]),
            "bytes": int(pair[BYTES]),
            "share": self._share(pair),
            "hash": f"{int(self.hashes[row]):#010x}",
        }

    def _collapsed(self, cause: Cause) -> dict[str, Any] | None:
        """Say how the frames of a cause lie, and how they would with an option."""
        queues = self.tally.queues
        here = queues[NOW, cause, : self.card.queues]
        total = here.sum(axis=0)
        if not total[FRAMES]:
            return None
        row: dict[str, Any] = {"cause": cause.name.lower(), "frames": int(total[FRAMES]), "bytes": int(total[BYTES])}
        row |= {"share": self._share(total)} | _spread(here, self.unit)
        ways = {"--inner": INNER} if cause in TUNNEL_CAUSES else {}
        by_ports = (Cause.UDP_ADDRESSES, Cause.VXLAN, Cause.GENEVE)
        if cause in by_ports and {self.fields["udp4"], self.fields["udp6"]} != {"sdfn"}:
            ways["--fields udp4=sdfn,udp6=sdfn"] = UDP_PORTS
        row["with"] = [
            {"option": option}
            | _spread(queues[way, cause, : self.card.queues], self.unit)
            | {"imbalance": _both(queues[way].sum(axis=0)[: self.card.queues])}
            for option, way in ways.items()
        ]
        return row

    def _propose(self, result: RssReport) -> None:
        card, unit = self.card, self.unit
        now = Setting(card.key, self.table)
        result.proposals = [self._proposal("now", now, self.tally.buckets, self.tally.unhashed)]
        if card.queues == 1:
            return
        loads, fixed = np.ascontiguousarray(self.tally.buckets[:, unit]), int(self.tally.unhashed[unit])
        weights = best_weights(loads, fixed, card.queues)
        found = [("weights", Setting(card.key, weight_table(weights, len(self.table)), weights))]
        if not result.flows_full:
            result.keys_tried = keys_tried(self.count, card.most_keys)
            search = Search(self.flows, unit, card.queues, self.table, self.fields, card.key)
            for symmetric, name in ((False, "key"), (True, "symmetric key")):
                key, both = best_keys(search, result.keys_tried, symmetric=symmetric)
                found += [(name, key), (f"{name} and weights", both)]
        before = self._largest(result.proposals[0])
        seen = [now]
        for name, setting in found:
            exact = setting.key == card.key
            buckets, unhashed = (self.tally.buckets, self.tally.unhashed) if exact else self._buckets(setting.key)
            row = self._proposal(name, setting, buckets, unhashed)
            better = self._largest(row) < before
            if setting not in seen and (better or name.startswith("symmetric")):
                result.proposals.append(row)
                seen.append(setting)

    def _largest(self, row: dict[str, Any]) -> float:
        return float(row["imbalance"][self.card.by])

    def _buckets(self, key: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return what another key would bring to each entry, and what stays without a hash."""
        hashes = np.zeros(max(self.count, 1), np.uint32)
        flow_hashes(self.flows, make_rss(key, self.table, self.fields), hashes)
        buckets, unhashed = np.zeros((len(self.table), 2), np.int64), np.zeros(2, np.int64)
        for unit in (FRAMES, BYTES):
            loads = np.zeros(len(self.table), np.int64)
            unhashed[unit] = bucket_loads(self.flows, unit, hashes, len(self.table) - 1, loads)
            buckets[:, unit] = loads
        return buckets, unhashed

    def _proposal(self, name: str, setting: Setting, buckets: NDArray[np.int64], unhashed: NDArray[np.int64]) -> dict[str, Any]:
        sums = np.stack(
            [queue_loads(buckets[:, unit], int(unhashed[unit]), setting.table, self.card.queues) for unit in (FRAMES, BYTES)],
            axis=1,
        )
        rss = make_rss(setting.key, setting.table, self.fields)
        hashes = np.zeros(max(self.count, 1), np.uint32)
        flow_hashes(self.flows, rss, hashes)
        words = []
        if setting.weights is not None:
            words += ["weight", *map(str, setting.weights)]
        if setting.key != self.card.key:
            words += ["hkey", key_text(setting.key)]
        return {
            "name": name,
            "imbalance": _both(sums),
            "together": int(count_pairs(self.flows, hashes, rss)[1]),
            "command": " ".join(["ethtool -X", self.card.device, *words]) if words else "",
            "key": key_text(setting.key),
            "weights": None if setting.weights is None else list(setting.weights),
        }


def _both(sums: NDArray[np.int64]) -> dict[str, float | None]:
    """Return the imbalance of frames and of bytes."""
    return {name: imbalance(sums[:, unit]) for unit, name in enumerate(UNITS)}


def _spread(sums: NDArray[np.int64], unit: int) -> dict[str, Any]:
    """Return on how many queues something lies, and on which most of it."""
    largest = int(sums[:, unit].argmax())
    total = int(sums[:, unit].sum())
    return {
        "queues": int((sums[:, FRAMES] > 0).sum()),
        "largest_queue": largest,
        "largest_share": int(sums[largest, unit]) / max(total, 1),
    }


def flow_text(flow: Flow) -> str:
    """Return a flow as one reads it: protocol, addresses, ports."""
    if flow.network == 0:
        kind = flow.ports[0] if flow.ports else 0
        return f"ethertype {kind:#06x}" if kind else "not IP"
    name = _PROTOCOLS.get(flow.protocol, f"IP protocol {flow.protocol}")
    ends = [str(ip_address(address)) for address in flow.addresses]
    if flow.ports is not None:
        ends = [f"[{end}]:{port}" if flow.network == 6 else f"{end}:{port}" for end, port in zip(ends, flow.ports, strict=True)]
    words = [TUNNELS[flow.tunnel], name, "fragments" * flow.fragment, ends[0], ">", ends[1]]
    return " ".join(filter(None, words))
