"""`/metrics` for Prometheus, served by a thread of its own; the datapath does not notice.

What is told is made when it is asked for, from one `DatapathView`, so counters of one answer belong together.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from pktpath.errors import Refused
from pktpath.features import NAME_OF, FeatureState
from pktpath.switch.views import DatapathView, WorkerView

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

PORT_COUNTERS = {
    "rx_packets": "Frames received, counted as they came from the port.",
    "rx_bytes": "Bytes received.",
    "rx_errors": "Frames received with an error.",
    "rx_dropped": "Frames that were dropped at receive.",
    "rx_over_errors": "Frames lost because a ring was full.",
    "rx_frame_errors": "Frames that were not whole.",
    "tx_packets": "Frames sent.",
    "tx_bytes": "Bytes sent.",
    "tx_errors": "Frames that the port did not take.",
    "tx_dropped": "Frames that were dropped at transmit.",
    "merged": "Frames that became part of another (GRO).",
    "cut": "Frames that super-frames were cut into.",
    "copied": "Copies of frames made for more than one output.",
}
"""Counters of `PortView` with their help; `queued` is a gauge and drop_REASON a counter with a label."""
WORKER_COUNTERS = {
    "packets": "Frames that went through the datapath.",
    "emc_hits": "Frames that the exact-match cache knew.",
    "megaflow_hits": "Frames that a megaflow matched.",
    "subtable_lookups": "Subtables searched for them.",
    "upcalls": "Frames handed to the slow path.",
    "upcall_ns": "Nanoseconds that the slow path took.",
    "lost": "Frames that found the queue to the slow path full.",
    "tx_packets": "Frames sent.",
    "tx_batches": "Calls that sent them.",
    "passes": "Passes through the datapath.",
    "iterations": "Turns of the loop over the queues.",
    "idle_iterations": "Turns that found nothing.",
    "busy_iterations": "Turns that found something.",
    "sleep_iterations": "Turns that slept.",
    "sleep_ns": "Nanoseconds slept.",
    "idle_cycles": "Cycles of turns that found nothing.",
    "busy_cycles": "Cycles of turns that found something.",
}
"""Counters of `WorkerView` with their help."""


class Measured(NamedTuple):
    """What one answer is made of."""

    view: DatapathView
    features: Mapping[str, FeatureState]
    """By the name of the port."""
    open: Mapping[str, bool]
    """By the name of the port: false while its interface is gone."""


class SwitchCollector:
    """A collector of prometheus_client: asks for a `Measured` at each scrape."""

    def __init__(self, measure: Callable[[], Measured]) -> None:
        self._measure = measure

    def describe(self) -> Iterable["Metric"]:
        """Return nothing: names are known from the first scrape, and none is needed to register."""
        return ()

    def collect(self) -> Iterator["Metric"]:
        """Yield every metric with its samples."""
        from prometheus_client.core import CounterMetricFamily as Counter
        from prometheus_client.core import GaugeMetricFamily as Gauge

        measured = self._measure()
        view = measured.view
        for name, value, text in (
            ("hit", view.hit, "Frames that a cache or a megaflow knew."),
            ("missed", view.missed, "Frames that needed the slow path."),
            ("lost", view.lost, "Frames that found the queue to the slow path full."),
            ("mask_lookups", view.mask_lookups, "Subtables searched."),
        ):
            yield Counter(f"pktpath_datapath_{name}", text, value=value)
        yield Gauge("pktpath_datapath_flows", "Megaflows.", value=view.flows)
        yield Gauge("pktpath_datapath_masks", "Masks of megaflows.", value=view.masks)
        yield from _ports(view, Counter, Gauge)
        yield from _workers(view.workers, Counter, Gauge)
        up = Gauge("pktpath_port_up", "1 while the port is open, 0 while its interface is gone.", labels=["port"])
        for port, is_open in measured.open.items():
            up.add_metric([port], int(is_open))
        yield up
        features = Gauge(
            "pktpath_ethtool_feature", "1 while a feature is on, as ethtool -k shows it.", labels=["device", "feature", "fixed"]
        )
        for port, state in measured.features.items():
            for feature, name in NAME_OF.items():
                if feature & (state.hw | state.active):
                    fixed = "yes" if feature & state.fixed else "no"
                    features.add_metric([port, name, fixed], int(bool(feature & state.active)))
        yield features


def _ports(view: DatapathView, counter: Any, gauge: Any) -> Iterator["Metric"]:
    labels = ["bridge", "port"]
    for name, text in PORT_COUNTERS.items():
        metric = counter(f"pktpath_port_{name}", text, labels=labels)
        for port in view.ports:
            if name in port.counters:
                metric.add_metric([port.bridge, port.name], port.counters[name])
        yield metric
    dropped = counter("pktpath_port_drops", "Frames dropped, by reason.", labels=[*labels, "reason"])
    queued = gauge("pktpath_port_queued", "Frames that wait or are held for merging.", labels=labels)
    for port in view.ports:
        for name, value in port.counters.items():
            if name.startswith("drop_"):
                dropped.add_metric([port.bridge, port.name, name.removeprefix("drop_")], value)
        if "queued" in port.counters:
            queued.add_metric([port.bridge, port.name], port.counters["queued"])
    yield dropped
    yield queued


def _workers(workers: Iterable[WorkerView], counter: Any, gauge: Any) -> Iterator["Metric"]:
    named = [(str(number) if worker.core is None else f"core{worker.core}", worker) for number, worker in enumerate(workers)]
    for name, text in WORKER_COUNTERS.items():
        metric = counter(f"pktpath_worker_{name}", text, labels=["worker"])
        for label, worker in named:
            if name in worker.counters:
                metric.add_metric([label], worker.counters[name])
        yield metric
    load = gauge(
        "pktpath_queue_load", "Share of a core that a receive queue took in the last minute.", labels=["worker", "port", "queue"]
    )
    overhead = gauge("pktpath_worker_overhead", "Share of a core beside the queues in the last minute.", labels=["worker"])
    for label, worker in named:
        for queue in worker.queues:
            if queue.usage is not None:
                load.add_metric([label, queue.port, str(queue.queue)], queue.usage)
        if worker.overhead is not None:
            overhead.add_metric([label], worker.overhead)
    yield load
    yield overhead


def serve(endpoint: tuple[str, int], measure: Callable[[], Measured], *, where: str = "metrics") -> Callable[[], None]:
    """Serve `/metrics`; return what ends it.

    Args:
        endpoint: address and port.
        measure: called in the threads that answer.
        where: what stands before an error.

    Raises:
        Refused: the port is taken, or the address is not ours.

    """
    from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector, start_http_server

    registry = CollectorRegistry()
    registry.register(SwitchCollector(measure))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    address, port = endpoint
    try:
        server, thread = start_http_server(port, addr=address, registry=registry)
    except OSError as error:
        name = f"[{address}]" if ":" in address else address
        message = f"{where}: {name}:{port}: {error.strerror or error}"
        raise Refused(message) from error

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join(5)

    return close
