"""A card and a host on Python lists: the twin of `pktpath.path.replay`, one frame and one object at a time.

A poll is a generator that takes one frame a step. GRO is the naive twin with an age for each held frame, NAPI and rounds are
those of `naive_napi`. What work costs is as `Costs` declares it.
"""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from pktpath.features import Feature
from pktpath.offload.rules import RULES
from pktpath.path.replay_types import ReplayOptions
from support.naive_gro import Arrival, Delivery, NaiveGro
from support.naive_moderation import NaiveLine
from support.naive_napi import Instance, NaiveHost

GROUP = 8
BUSY_POLL_BUDGET = 8
"""Frames that go through GRO at once."""
SEGMENTS_OF_A_HANDLER = 64
"""Frames that the handler before NAPI takes in one interrupt."""


@dataclass
class Wire:
    """A frame as it arrives: nanoseconds since the start, and where RSS sends it."""

    time: int
    data: bytes
    queue: int
    hash: int


@dataclass
class NaiveQueue:
    """Counters of one queue, its ring and its interrupt."""

    line: NaiveLine
    ring: deque[int] = field(default_factory=deque)
    gro: "AgedGro | None" = None
    counts: Counter[str] = field(default_factory=Counter)


@dataclass
class NaiveCore:
    """One CPU."""

    hand: int = 0
    wake: int | None = None
    poll: Iterator[None] | None = None
    polled: int = -1
    taken: int = 0
    ipi: bool = False
    fed_at: int = 0
    backlog: deque[tuple[int, int, int]] = field(default_factory=deque)
    put: int = 0
    gone: int = 0
    stages: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)


class AgedGro(NaiveGro):
    """The naive GRO, and the jiffy in which each frame was first held."""

    def take(self, wire: Wire, number: int, jiffy: int) -> None:
        self.receive(Arrival(wire.data, hash=wire.hash, wire_len=len(wire.data)), number)
        for held in self.held:
            held.__dict__.setdefault("age", jiffy)

    def flush_old(self, jiffy: int) -> None:
        for bucket in range(8):
            for held in [held for held in self.held if held.seen.flow[0] % 8 == bucket]:
                if held.age == jiffy:
                    break
                self._complete(held, "none")

    def delivered(self, flush: str, jiffy: int) -> list[Delivery]:
        if flush == "all":
            return self.flush()
        if flush == "old":
            self.flush_old(jiffy)
        out, self.out = self.out, []
        return out


class NaiveReplay:
    """The whole engine; `run` takes all frames, what happened is in the attributes afterwards."""

    def __init__(self, options: ReplayOptions) -> None:
        self.options, self.costs, self.limits = options, options.costs, options.limits
        settings = options.settings
        features = settings.features.active
        self.gro, self.verify = Feature.GRO in features, Feature.RXCSUM not in features
        count = settings.queues if options.cpus is None else options.cpus
        self.queues = [
            NaiveQueue(NaiveLine(settings.rx_usecs, settings.rx_frames, adaptive=settings.adaptive_rx))
            for _ in range(settings.queues)
        ]
        for queue in self.queues:
            queue.gro = AgedGro(RULES["6.18"], udp=Feature.GRO_UDP_FWD in features)
        self.cores = [NaiveCore() for _ in range(count)]
        instances = [
            Instance(number % count, options.weight, settings.gro_flush_timeout, settings.napi_defer_hard_irqs)
            for number in range(settings.queues)
        ] + [Instance(cpu, options.weight) for cpu in range(count)]
        self.host = NaiveHost(
            instances, count, budget=self.limits.budget, budget_usecs=self.limits.budget_usecs, hz=self.limits.hz
        )
        for number in range(len(instances)):
            self.host.enable(number, settings.threaded and number < settings.queues)
        self.steered: dict[int, list[int]] = {}
        self.delivered: list[tuple[bytes, int, int]] = []
        """(bytes, time of arrival of the first segment, segments), as the stack's batches had them."""
        self.waits: list[tuple[int, int]] = []
        """(nanoseconds, wire frames)."""
        self.events: list[tuple[str, int, int]] = []
        """(kind, time, count)."""
        self.poll_sizes: Counter[int] = Counter()
        self.reasons: Counter[str] = Counter()
        self.merged = 0

    def run(self, frames: list[Wire]) -> None:
        """Let all frames arrive, and then everything come to rest."""
        self.frames = frames
        arrivals = deque(range(len(frames)))
        while True:
            waiting = [(core.wake, cpu) for cpu, core in enumerate(self.cores) if core.wake is not None]
            when, cpu = min(waiting, default=(None, 0))
            if arrivals and (when is None or frames[arrivals[0]].time <= when):
                self._arrive(arrivals.popleft())
            elif when is None:
                return
            else:
                core = self.cores[cpu]
                if any(self.host.napis[number].busy for number in self._mine(cpu)):
                    core.stages["spin"] += max(when - core.hand, 0)
                core.hand = max(core.hand, when)
                self._step(cpu, core)
                core.wake = self._next_step(cpu, core)

    # The card.

    def _arrive(self, number: int) -> None:
        wire = self.frames[number]
        queue = self.queues[wire.queue]
        queue.counts["frames"] += 1
        self._note("arrived", wire.time)
        if len(queue.ring) == self.options.settings.rx_ring:
            queue.counts["dropped"] += 1
            self._note("dropped", wire.time)
            return
        queue.ring.append(number)
        cpu = wire.queue % len(self.cores)
        if not queue.line.masked:
            queue.line.arm(wire.time, 1)
            if queue.line.at is not None:
                self._wake(cpu, queue.line.at)
        if self.host.napis[wire.queue].busy:
            self._wake(cpu, wire.time)

    def _wake(self, cpu: int, when: int) -> None:
        core = self.cores[cpu]
        when = max(when, core.hand)
        core.wake = when if core.wake is None else min(core.wake, when)

    def _mine(self, cpu: int) -> range:
        return range(cpu, len(self.queues), len(self.cores))

    # A CPU.

    def _work(self, core: NaiveCore, stage: str, nanoseconds: int) -> None:
        core.hand += nanoseconds
        core.stages[stage] += nanoseconds

    def _step(self, cpu: int, core: NaiveCore) -> None:
        host = self.host.cpus[cpu]
        if core.ipi:
            core.ipi = False
            self._work(core, "steer", self.costs.ipi)
        elif self._interrupted(cpu, core):
            pass
        elif core.poll is not None:
            self._poll_on(cpu, core)
        elif host.in_round:
            number = self.host.round_next(cpu)
            if number is not None:
                self._begin_poll(cpu, core, number)
        elif host.softirq:
            self.host.round_begin(cpu, core.hand)
        elif host.threads:
            number = host.threads.pop(0)
            if not self.host.napis[number].awake:
                self.host.napis[number].awake = True
                self._work(core, "poll", self.costs.wake)
            self._begin_poll(cpu, core, number)
        elif self.options.busy_poll:
            self._busy_poll(cpu, core)

    def _next_step(self, cpu: int, core: NaiveCore) -> int | None:
        host = self.host.cpus[cpu]
        if core.ipi or core.poll is not None or host.in_round or host.softirq or host.threads:
            return core.hand
        times = []
        for number in self._mine(cpu):
            queue, napi = self.queues[number], self.host.napis[number]
            times += [when for when in (queue.line.at, napi.timer) if when is not None]
            over = core.fed_at + self.options.busy_poll
            if self.options.busy_poll and core.fed_at:
                if napi.busy:
                    times.append(core.hand if queue.ring else over)
                elif core.hand < over:
                    times.append(core.hand)
        return max(core.hand, min(times)) if times else None

    def _interrupted(self, cpu: int, core: NaiveCore) -> bool:
        for number in self._mine(cpu):
            queue, napi = self.queues[number], self.host.napis[number]
            if queue.line.at is not None and queue.line.at <= core.hand:
                self._interrupt(cpu, core, number)
                return True
            if napi.timer is not None and napi.timer <= core.hand:
                self._work(core, "irq", self.costs.irq)
                queue.counts["timers"] += 1
                self.host.timer(number)
                return True
        return False

    def _interrupt(self, cpu: int, core: NaiveCore, number: int) -> None:
        queue = self.queues[number]
        line, now = queue.line, core.hand
        line.fire()
        queue.counts["interrupts"] += 1
        self._note("interrupt", now)
        if not self.options.netif_rx:
            self._work(core, "irq", self.costs.irq)
            line.masked, line.at = True, None
            self.host.schedule(number)
            return
        moderated = line.usecs > 0 or line.frames > 1
        count = min(len(queue.ring), SEGMENTS_OF_A_HANDLER if moderated else 1)
        irq = self.costs.irq
        for _ in range(count):
            wire = self.frames[queue.ring.popleft()]
            queue.counts["taken"] += 1
            queue.counts["bytes"] += len(wire.data)
            if self._to_backlog(cpu, cpu, len(wire.data), 1, wire.time):
                self._work(core, "irq", irq)
                self._work(core, "driver", self.costs.frame)
                self.delivered.append((wire.data, wire.time, 1))
            else:
                self._work(core, "lost", irq + self.costs.frame)
            irq = 0
        if count == 0:
            self._work(core, "irq", irq)
        if queue.ring:
            line.arm(now, len(queue.ring))

    # Polls.

    def _begin_poll(self, cpu: int, core: NaiveCore, number: int) -> None:
        core.polled, core.taken = number, 0
        backlog = number >= len(self.queues)
        core.poll = self._poll_backlog(cpu, core, number) if backlog else self._poll_queue(cpu, core, number)
        self._work(core, "poll", self.costs.poll)
        self._note("poll", core.hand)
        if not backlog:
            self.queues[number].counts["polls"] += 1

    def _poll_on(self, cpu: int, core: NaiveCore) -> None:
        number = core.polled
        try:
            next(core.poll)
        except StopIteration:
            core.poll = None
            if number < len(self.queues) and self.host.napis[number].busy and core.taken:
                self._end_busy_poll(cpu, core, number)

    def _poll_queue(self, cpu: int, core: NaiveCore, number: int) -> Iterator[None]:
        queue, napi = self.queues[number], self.host.napis[number]
        group: list[int] = []
        while True:
            empty = not queue.ring
            if not empty:
                group.append(queue.ring.popleft())
                core.taken += 1
                core.fed_at = core.hand
                queue.counts["taken"] += 1
                queue.counts["bytes"] += len(self.frames[group[-1]].data)
                self._work(core, "driver", self.costs.frame)
                if self.gro:
                    self._work(core, "offload", self.costs.gro)
                if self.verify:
                    self._work(core, "offload", len(self.frames[group[-1]].data) * self.costs.sum // 1000)
            full = core.taken == (min(napi.weight, BUSY_POLL_BUDGET) if napi.busy else napi.weight)
            if empty or full:
                break
            if len(group) == GROUP:
                self._through_gro(cpu, core, queue, group, "nothing")
            yield
        flush = "nothing"
        if full and not napi.busy:
            flush = "old" if self.limits.hz >= 1000 else "all"
        self._through_gro(cpu, core, queue, group, flush)
        work = core.taken
        self.poll_sizes[work] += 1
        queue.counts["empty_polls"] += work == 0
        queue.counts["full_polls"] += full
        repoll = full and not napi.busy
        if not repoll and not napi.busy:
            self._complete(cpu, core, number, work)
        self._end_of_turn(cpu, core, number, work, repoll)

    def _complete(self, cpu: int, core: NaiveCore, number: int, work: int) -> None:
        queue = self.queues[number]
        held = bool(queue.gro.held)
        # What GRO flushes is handed up before anybody else may have the instance.
        timeout = self._will_wait(number, work, held)
        self._through_gro(cpu, core, queue, [], "old" if timeout else "all")
        unmask, flushed = self.host.complete(number, work, held, core.hand)
        assert flushed == ("old" if timeout else "all")
        if unmask:
            queue.line.unmask(core.hand, len(queue.ring))
        queue.line.adapt(core.hand, queue.counts["taken"], queue.counts["bytes"])

    def _will_wait(self, number: int, work: int, held: bool) -> bool:
        napi = self.host.napis[number]
        deferred = (napi.defer_hard_irqs if work else napi.defer_left) > 0
        return napi.gro_flush_timeout > 0 and (deferred or (work > 0 and held))

    def _end_of_turn(self, cpu: int, core: NaiveCore, number: int, work: int, repoll: bool) -> None:
        if self.host.cpus[cpu].in_round:
            self.host.round_polled(cpu, number, work, repoll, core.hand)
        elif repoll:
            self.host.queue(number)

    def _through_gro(self, cpu: int, core: NaiveCore, queue: NaiveQueue, group: list[int], flush: str) -> None:
        jiffy = core.hand * self.limits.hz // 1_000_000_000
        if self.gro:
            for number in group:
                queue.gro.take(self.frames[number], number, jiffy)
            out = queue.gro.delivered(flush, jiffy)
        else:
            out = [Delivery(self.frames[number].data, "gro_off", origins=(number,)) for number in group]
        group.clear()
        for frame in out:
            self.reasons[frame.reason] += 1
            self.merged += frame.segs - 1
            first = self.frames[frame.origins[0]]
            self.delivered.append((frame.data, first.time, frame.segs))
        # The stack has them one after the other, when GRO is done with all.
        for frame in out:
            first = self.frames[frame.origins[0]]
            target = self._steer(first.hash)
            if target is None:
                self._to_stack(core, len(frame.data), frame.segs, first.time)
            else:
                self._to_backlog(cpu, target, len(frame.data), frame.segs, first.time)

    # The stack, and the backlogs before it.

    def _to_stack(self, core: NaiveCore, octets: int, segments: int, arrived: int) -> None:
        self.waits.append((core.hand - arrived, segments))
        self._work(core, "stack", self.costs.stack + octets * self.costs.byte // 1000)
        core.counts["processed"] += 1
        core.counts["segments"] += segments
        self._note("delivered", core.hand)

    def _steer(self, value: int) -> int | None:
        """The CPU that a frame with this hash goes to."""
        cpus = len(self.cores)
        if value and self.options.rfs:
            entry = self.steered.setdefault(value % 32768, [(value >> 16) % cpus, 0])
            entry[1] = self.cores[entry[0]].put + 1
            return entry[0]
        if value and self.options.rps:
            return value * cpus // 2**32
        return None

    def _to_backlog(self, cpu: int, target: int, octets: int, segments: int, arrived: int) -> bool:
        core, there = self.cores[cpu], self.cores[target]
        if len(there.backlog) == self.limits.max_backlog:
            there.counts["dropped"] += 1
            there.counts["lost"] += segments
            self._note("dropped", core.hand, segments)
            return False
        there.backlog.append((octets, segments, arrived))
        there.put += 1
        number = len(self.queues) + target
        if not self.host.napis[number].scheduled:
            self.host.schedule(number)
            if target != cpu:
                there.counts["received_rps"] += 1
                there.ipi = True
                self._wake(target, core.hand)
        return True

    def _poll_backlog(self, cpu: int, core: NaiveCore, number: int) -> Iterator[None]:
        while True:
            if core.backlog:
                octets, segments, arrived = core.backlog.popleft()
                core.gone += 1
                core.taken += 1
                if self.options.netif_rx and self.verify:
                    self._work(core, "offload", octets * self.costs.sum // 1000)
                self._to_stack(core, octets, segments, arrived)
            full = core.taken == self.host.napis[number].weight
            if full or not core.backlog:
                break
            yield
        if not full:
            self.host.complete(number, 0, held=False, now=core.hand)
        self._end_of_turn(cpu, core, number, core.taken, full)

    # A reader that polls by itself.

    def _busy_poll(self, cpu: int, core: NaiveCore) -> None:
        over = core.hand >= core.fed_at + self.options.busy_poll
        for number in self._mine(cpu):
            if self.host.napis[number].busy:
                if over:
                    self._end_busy_poll(cpu, core, number)
                    return
                if self.queues[number].ring:
                    self.queues[number].counts["busy_polls"] += 1
                    self._begin_poll(cpu, core, number)
                    return
            elif not over and core.fed_at:
                self.host.busy_begin(number)

    def _end_busy_poll(self, cpu: int, core: NaiveCore, number: int) -> None:
        self.host.busy_end(number)
        self._begin_poll(cpu, core, number)

    def _note(self, kind: str, now: int, count: int = 1) -> None:
        self.events.append((kind, now, count))
