"""The engine of a switch: workers, ports, megaflows and upcalls as one object, driven by one thread of Python.

Workers run compiled and are paused for a moment when queues or ports change; nothing is lost meanwhile, what arrives waits
in the kernel. Everything that is read for reports is counters that workers write and nobody else.
"""

import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from pktpath.features import Feature, FeatureState
from pktpath.nic.clock import cycles
from pktpath.path.live_files import CaptureFiles
from pktpath.path.live_mirror import Mirror
from pktpath.path.live_queues import make_queues
from pktpath.path.live_slow import Upcalls
from pktpath.path.live_thread import LiveThread
from pktpath.path.live_types import GRO_QUEUES, Control, Ring, Setting, make_context
from pktpath.path.live_view import port_view, worker_view
from pktpath.pool import Pool
from pktpath.port.live import EnginePort, RxQueue
from pktpath.port.live_memory import LiveMemory
from pktpath.switch.datapath import Datapath, make_ports
from pktpath.switch.flow_table import FlowTable
from pktpath.switch.meter import make_meters
from pktpath.switch.slow_path import SlowPath
from pktpath.switch.views import DatapathView, FlowView

_TRANSMIT = (
    Feature.SG | Feature.IP_CSUM | Feature.IPV6_CSUM | Feature.HW_CSUM | Feature.TSO | Feature.TSO_ECN | Feature.TSO6
    | Feature.TSO_MANGLEID | Feature.TSO_ACCECN | Feature.GSO_UDP_L4 | Feature.GSO_UDP | Feature.GSO_PARTIAL
)  # fmt: skip
_RECEIVE = Feature.GRO | Feature.RXCSUM | Feature.GRO_UDP_FWD
_INTERVALS, _INTERVAL = 12, 5.0
"""Load is told for the last minute, from intervals of five seconds, as pmd-rxq-show does."""
METERS = 1024
_log = logging.getLogger("pktpath.engine")


class EngineSettings(NamedTuple):
    """What an engine is made with."""

    name: str = "pktpath"
    cores: tuple[int, ...] = ()
    """A thread for each; none for one thread that no core holds."""
    poll: bool = False
    """Whether threads ask again and again instead of sleeping until something comes."""
    weight: int = 64
    sleep_max_us: int = 0
    delay_us: int = 0
    emc_insert_inv_prob: int = 100
    """0 switches the exact-match cache off."""
    flow_limit: int = 200_000
    max_idle_ms: int = 10_000
    upcall_queue: int = 4096
    """Frames of each worker that may wait for the slow path, rounded up to a power of two."""
    controller_rate: int = 1000
    """Copies a second to the controller of each worker, 0 for any number."""
    header_chunks: int = 8192
    normal_chunks: int = 16384
    large_chunks: int = 640


class LiveEngine:
    """See `control.engine.Engine`, which it is."""

    def __init__(self, settings: EngineSettings, slow_path: SlowPath) -> None:
        """Take the memory and make the workers; nothing runs yet.

        Raises:
            Refused: the kernel has no such range of addresses.

        """
        self.settings = settings
        self.memory = LiveMemory()
        self.queues = make_queues()
        self.ports: dict[int, EnginePort] = {}
        self.pools: list[Pool] = []
        """Of each worker."""
        self._threads: list[LiveThread] = []
        cores: tuple[int | None, ...] = settings.cores or (None,)
        threads = self._threads
        # Knows the threads and not the engine: a cycle would keep its memory until the next collection of garbage.
        self._table = FlowTable(
            settings.flow_limit + settings.flow_limit // 4 + 1024, len(cores), lambda: tuple(thread.epoch for thread in threads)
        )
        self.datapath = Datapath(self._table.table, self._table.programs, make_ports(), make_meters(METERS))
        self._upcalls = Upcalls(slow_path, self._table, self._threads)
        for number, core in enumerate(cores):
            pool = self.memory.pool(header=settings.header_chunks, normal=settings.normal_chunks, large=settings.large_chunks)
            context = make_context(number, pool, self.datapath, self.queues, upcall_queue=settings.upcall_queue)
            context.worker.settings[Setting.UPCALL_EVENT] = self._upcalls.event
            self.pools.append(pool)
            self._threads.append(LiveThread(context, core=core, poll=settings.poll))
        self._places: dict[int, list[tuple[int, int, int]]] = {}
        """Port: (worker, kind and row) of each of its queues."""
        self._samples: dict[tuple[int, int, int], deque[tuple[float, int]]] = {}
        self._sampled = 0.0
        self._told: list[BaseException] = []
        self._files = CaptureFiles()
        self._started = (time.monotonic(), int(cycles()))
        self.hertz = 1e9
        self._apply(settings)

    def _apply(self, settings: EngineSettings) -> None:
        self._upcalls.flow_limit, self._upcalls.max_idle = settings.flow_limit, settings.max_idle_ms / 1000
        for thread in self._threads:
            words = thread.worker.settings
            words[Setting.WEIGHT] = settings.weight
            words[Setting.SLEEP_MAX_NS] = settings.sleep_max_us * 1000
            words[Setting.DELAY_NS] = settings.delay_us * 1000
            words[Setting.CONTROLLER_RATE] = settings.controller_rate
            inverse = settings.emc_insert_inv_prob
            thread.context.emc.chance[1] = 0 if inverse == 0 else ((1 << 32) - 1) // inverse + 1

    # What the daemon's loop calls.

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when there is something for `handle_upcalls`."""
        return self._upcalls.event

    def handle_upcalls(self, most: int) -> bool:
        """Answer up to `most` frames that wait for the slow path; return whether more are waiting."""
        return self._upcalls.handle(most)

    def revalidate(self, now: float) -> float:
        """Look again at some megaflows; return seconds until the next call."""
        return self._upcalls.revalidate(now)

    def tick(self, now: float) -> None:
        """Sample the load of queues, once in five seconds, and let threads sleep whose captures are through."""
        for number, port in self.ports.items():
            if self._places[number] and getattr(port.port, "finished", False):
                with self.paused():
                    self._take_queues(number)
        for thread in self._threads:
            if thread.failure is not None and thread.failure not in self._told:
                self._told.append(thread.failure)
                _log.critical("a datapath thread has ended by a fault of pktpath's own: %r", thread.failure)
        elapsed = time.monotonic() - self._started[0]
        if elapsed > 0.1:
            self.hertz = (int(cycles()) - self._started[1]) / elapsed
        if now - self._sampled >= _INTERVAL:
            self._sampled = now
            for number, thread in enumerate(self._threads):
                for kind, row, spent in self._spent(thread):
                    history = self._samples.setdefault((number, kind, row), deque(maxlen=_INTERVALS + 1))
                    history.append((now, spent))

    @staticmethod
    def _spent(thread: LiveThread) -> list[tuple[int, int, int]]:
        rx = thread.worker.rx[: int(thread.worker.rx_count[0])]
        return list(zip(rx.kind.tolist(), rx.row.tolist(), rx.cycles.tolist(), strict=True))

    def usage(self, worker: int, kind: int, row: int) -> float | None:
        """Share of its core that a queue took in the last minute, None where nothing is known yet."""
        history = self._samples.get((worker, kind, row))
        if history is None or len(history) < 2:
            return None
        (since, before), (until, after) = history[0], history[-1]
        return min(max((after - before) / ((until - since) * self.hertz), 0.0), 1.0)

    def start(self) -> None:
        """Start the workers; what is not compiled yet is compiled first."""
        self._table.warm()
        self._upcalls.warm()
        for thread in self._threads:
            thread.worker.control[Control.UPCALL_WAKE] = 1
            thread.start()

    def turn(self) -> None:
        """Instead of `start`: let each worker serve what is there, one after the other, in the caller's thread."""
        for thread in self._threads:
            thread.turn()

    def add_port(self, port: EnginePort) -> None:
        """Begin to receive from and to send to a port."""
        queues = port.port.rx
        with self.paused():
            for thread in self._threads:
                kind, row = port.port.tx(thread.worker.number)
                thread.worker.tx[port.number] = (int(kind), row)
            places = []
            homes = getattr(port.port, "homes", None)
            for nth, queue in enumerate(queues):
                # The frames of some queues lie in the pool of one worker (AF_XDP): they have no choice.
                thread = self._threads[homes[nth]] if homes else min(self._threads, key=self._load)
                self._give_queue(thread, int(queue.kind), queue.row, port, queue.fd)
                places.append((thread.worker.number, int(queue.kind), queue.row))
            self._places[port.number] = places
            self.ports[port.number] = port
            self._files.add(port.port)
            self._switch(port)

    @staticmethod
    def _load(thread: LiveThread) -> int:
        return int(thread.worker.rx_count[0])

    def _give_queue(self, thread: LiveThread, kind: int, row: int, port: EnginePort, fd: int) -> None:
        worker = thread.worker
        at = int(worker.rx_count[0])
        taken = set(worker.rx.table[:at].tolist())
        table = next((number for number in range(GRO_QUEUES) if number not in taken), -1)
        worker.rx[at] = (kind, row, port.number, int(port.features.active & _RECEIVE), table, 0, 0)
        worker.rx_count[0] = at + 1
        thread.watch(fd)

    def _switch(self, port: EnginePort) -> None:
        self.datapath.ports[port.number] = (1, int(port.features.active & _TRANSMIT), port.port.mtu)

    def rebalance(self) -> None:
        """Give the queues to the workers anew, by what they took of a core in the last minute: the busiest one first.

        Queues whose frames lie in the pool of their worker (AF_XDP) stay, and count as its load.
        """
        loads = dict.fromkeys(range(len(self._threads)), 0.0)
        movable: list[tuple[float, int, RxQueue]] = []
        for number, places in self._places.items():
            port = self.ports[number].port
            for at, kind, row in places:
                load = self.usage(at, kind, row) or 0.0
                if getattr(port, "homes", None):
                    loads[at] += load
                else:
                    queue = next(queue for queue in port.rx if (int(queue.kind), queue.row) == (kind, row))
                    movable.append((load, number, queue))
        with self.paused():
            for number in {number for _, number, _ in movable}:
                self._take_queues(number)
            for load, number, queue in sorted(movable, key=lambda one: -one[0]):
                # Where nothing is known of loads, numbers of queues decide.
                at = min(loads, key=lambda at: (loads[at], self._load(self._threads[at])))
                loads[at] += load
                self._give_queue(self._threads[at], int(queue.kind), queue.row, self.ports[number], queue.fd)
                self._places[number].append((at, int(queue.kind), queue.row))

    def remove_port(self, number: int) -> None:
        """Stop using a port and forget the megaflows that name it."""
        with self.paused():
            self.datapath.ports[number].up = 0
            self._take_queues(number)
            self._files.remove(self.ports.pop(number).port)
            del self._places[number]
            for thread in self._threads:
                thread.worker.tx[number] = -1
                thread.worker.counts[number] = 0
        self._upcalls.flush()

    def _take_queues(self, number: int) -> None:
        """Take the queues of a port from their workers."""
        fds = {(int(queue.kind), queue.row): queue.fd for queue in self.ports[number].port.rx}
        for at, kind, row in self._places[number]:
            thread = self._threads[at]
            worker = thread.worker
            queues = [worker.rx[nth].tolist() for nth in range(int(worker.rx_count[0]))]
            kept = [queue for queue in queues if queue[:2] != (kind, row)]
            for nth, queue in enumerate(kept):
                worker.rx[nth] = queue
            worker.rx_count[0] = len(kept)
            self._samples.pop((at, kind, row), None)
            thread.forget(fds[kind, row])
        self._places[number] = []

    def set_features(self, number: int, state: FeatureState) -> None:
        """Change what the path does on a port from the next batch on."""
        port = self.ports[number]._replace(features=state)
        self.ports[number] = port
        for thread in self._threads:
            for nth in range(int(thread.worker.rx_count[0])):
                if int(thread.worker.rx[nth].port) == number:
                    thread.worker.rx[nth].features = int(state.active & _RECEIVE)
        self._switch(port)

    def configure(self, settings: EngineSettings) -> None:
        """Take over what can change while it runs."""
        self.settings = settings
        self._apply(settings)

    def flush(self) -> None:
        """Forget all megaflows, and with them what the caches hold."""
        self._upcalls.flush()

    def stop_receiving(self) -> None:
        """Take no more frames from any port; those accepted go on to where they go."""
        with self.paused():
            for thread in self._threads:
                thread.worker.rx_count[0] = 0

    def idle(self) -> bool:
        """Whether no accepted frame is left inside."""
        return all(
            int(thread.context.waiting.rings[Ring.ASKED]) == int(thread.context.waiting.rings[Ring.TAKEN])
            for thread in self._threads
        )

    def stop(self) -> None:
        """End the workers and wait for them."""
        for thread in self._threads:
            thread.end()
        self._threads.clear()
        self._files.stop()
        self._upcalls.close()

    def close(self) -> None:
        """Give the memory back, after ports were closed."""
        self.memory.close()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let every worker finish what it has in hand and stand still for a while."""
        for thread in self._threads:
            thread.pause()
        try:
            yield
        finally:
            for thread in self._threads:
                thread.resume()

    # What reports are made of.

    def failures(self) -> Sequence[BaseException]:
        """Return why threads ended that should not have."""
        return [thread.failure for thread in self._threads if thread.failure is not None]

    def view(self) -> DatapathView:
        """Return the datapath with all its counters."""
        counts = [thread.worker.counts for thread in self._threads]
        workers = tuple(worker_view(self, thread) for thread in self._threads)
        lost = sum(worker.counters["lost"] for worker in workers)
        hits = sum(worker.counters["emc_hits"] + worker.counters["megaflow_hits"] for worker in workers)
        lookups = sum(worker.counters["subtable_lookups"] + worker.counters["missed_subtables"] for worker in workers)
        missed = sum(worker.counters["upcalls"] + worker.counters["lost"] for worker in workers)
        return DatapathView(
            self.settings.name, hits, missed, lost, len(self._table), self._table.masks, lookups,
            tuple(port_view(port, counts) for _, port in sorted(self.ports.items())), workers,
        )  # fmt: skip

    def mirrors(self) -> list[Mirror]:
        """Return the rings of watched frames, one a worker."""
        return [thread.context.mirror for thread in self._threads]

    def clear_statistics(self, core: int | None) -> None:
        """Set what the worker of a core counts of itself to zero, or all workers with None."""
        for thread in self._threads:
            if core is None or thread.core == core:
                thread.worker.tally[:] = 0
                thread.counted_since, thread.upcall_ns = time.monotonic_ns(), 0
                thread.worker.rx.cycles[:] = 0

    @property
    def megaflows(self) -> FlowTable:
        """The writer's side of the table of megaflows."""
        return self._table

    @property
    def most_megaflows(self) -> int:
        """Most megaflows that were there at a time."""
        return self._upcalls.most

    @property
    def round_ms(self) -> int:
        """Milliseconds of the last look at all megaflows."""
        return int(self._upcalls.round_seconds * 1000)

    def credit(self) -> None:
        """Credit the rules with what megaflows have forwarded until now."""
        self._upcalls.credit()

    def flows(self) -> Iterable[FlowView]:
        """Return the megaflows."""
        now = time.monotonic_ns()
        for flow, (key, mask, actions) in list(self._table.flows.items()):
            counts = self._table.counts(flow)
            idle = (now - counts.used) / 1e9 if counts.used else None
            core = self._upcalls.core_of(flow)
            yield FlowView(key, mask, actions, counts.packets, counts.size, idle, counts.tcp_flags, core, flow)
