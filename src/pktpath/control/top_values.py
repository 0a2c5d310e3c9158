"""What changed between two views of a datapath: rates of ports, loads of threads, the busiest megaflows."""

from collections.abc import Mapping, Sequence
from typing import Any

from pktpath.switch.views import DatapathView, FlowView, PortView, WorkerView

_DROP = "drop_"
_OF_PORT = ("rx_dropped", "tx_dropped")
"""What a port had no room for; `drop_*` are the frames that the datapath dropped, and no frame is in two of them."""


def changes(before: DatapathView, after: DatapathView, seconds: float) -> dict[str, Any]:
    """Return rates as an object for `json`.

    Args:
        before: the earlier view.
        after: the later one.
        seconds: between them.

    """
    packets = (after.hit - before.hit) + (after.missed - before.missed)
    looked_at = after.mask_lookups - before.mask_lookups
    ports = {port.name: port for port in before.ports}
    workers = {worker.core: worker for worker in before.workers}
    return {
        "datapath": after.name,
        "seconds": seconds,
        "flows": after.flows,
        "masks": after.masks,
        "lookups_per_second": _rate(packets, seconds),
        "hit_rate": _share(after.hit - before.hit, packets),
        "masks_per_packet": None if packets <= 0 else looked_at / packets,
        "missed_per_second": _rate(after.missed - before.missed, seconds),
        "lost_per_second": _rate(after.lost - before.lost, seconds),
        "lost": after.lost,
        "ports": [_port(ports.get(port.name), port, seconds) for port in sorted(after.ports, key=lambda port: port.number)],
        "workers": [_worker(workers.get(worker.core), worker, seconds) for worker in _in_order(after.workers)],
    }


def _in_order(workers: Sequence[WorkerView]) -> list[WorkerView]:
    return sorted(workers, key=lambda worker: -1 if worker.core is None else worker.core)


def _rate(count: int, seconds: float) -> float:
    # A counter that was set to zero in between is no negative rate.
    return max(count, 0) / seconds if seconds > 0 else 0.0


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole > 0 else None


def _delta(before: Mapping[str, int], after: Mapping[str, int], *names: str) -> int:
    return sum(after.get(name, 0) - before.get(name, 0) for name in names)


def _port(before: PortView | None, after: PortView, seconds: float) -> dict[str, Any]:
    # A port that is new, or another one of the same name, has no earlier counters.
    old = before.counters if before is not None and before.number == after.number else {}
    drops = [name for name in after.counters if name.startswith(_DROP) or name in _OF_PORT]
    reasons = {name.removeprefix(_DROP): after.counters[name] for name in drops if after.counters[name]}
    worst = max(reasons, key=lambda name: reasons[name], default=None)
    return {
        "number": after.number,
        "name": after.name,
        "kind": after.kind,
        "bridge": after.bridge,
        "rx_packets_per_second": _rate(_delta(old, after.counters, "rx_packets"), seconds),
        "rx_bits_per_second": 8 * _rate(_delta(old, after.counters, "rx_bytes"), seconds),
        "tx_packets_per_second": _rate(_delta(old, after.counters, "tx_packets"), seconds),
        "tx_bits_per_second": 8 * _rate(_delta(old, after.counters, "tx_bytes"), seconds),
        "dropped_per_second": _rate(_delta(old, after.counters, *drops), seconds),
        "dropped": _delta({}, after.counters, *drops),
        "drop_reasons": reasons,
        "most_dropped_for": worst,
    }


def _worker(before: WorkerView | None, after: WorkerView, seconds: float) -> dict[str, Any]:
    old = before.counters if before is not None else {}
    new = after.counters
    packets = _delta(old, new, "packets")
    busy, idle = _delta(old, new, "busy_cycles"), _delta(old, new, "idle_cycles")
    # A poll-mode thread always runs: its load is what it does not idle. The others sleep: theirs is of the time.
    whole = busy + idle if after.core is not None else int(seconds * after.hertz)
    return {
        "core": after.core,
        "numa": after.numa,
        "load": _share(busy, whole),
        "queues": [f"{queue.port}.{queue.queue}" for queue in after.queues],
        "packets_per_second": _rate(packets, seconds),
        "cycles_per_packet": busy / packets if packets > 0 else None,
        "exact_match_hit_rate": _share(_delta(old, new, "emc_hits"), packets),
        "upcalls_per_second": _rate(_delta(old, new, "upcalls"), seconds),
        "lost_per_second": _rate(_delta(old, new, "lost"), seconds),
        "packets_per_output_batch": _share(_delta(old, new, "tx_packets"), _delta(old, new, "tx_batches")),
    }


def busiest(
    before: Sequence[FlowView], after: Sequence[FlowView], seconds: float, count: int
) -> list[tuple[FlowView, float, float]]:
    """Return the megaflows that forwarded most bytes: flow, packets and bits a second."""
    old = {flow.number: flow for flow in before}
    rates = []
    for flow in after:
        earlier = old.get(flow.number)
        packets = flow.packets - (earlier.packets if earlier else 0)
        size = flow.size - (earlier.size if earlier else 0)
        rates.append((flow, _rate(packets, seconds), 8 * _rate(size, seconds)))
    return sorted(rates, key=lambda rate: rate[2], reverse=True)[:count]
