"""NAPI instances and softirq rounds as plain objects and Python lists: the twin of `pktpath.nic.napi` and `softnet`.

Written from the rules of net/core/dev.c (Linux 6.18): napi_schedule_prep, napi_complete_done, napi_watchdog,
napi_enable, napi_disable, napi_busy_loop, net_rx_action. It shares no code with `pktpath.nic`.
"""

from dataclasses import dataclass, field


@dataclass
class Instance:
    """One NAPI instance; as after netif_napi_add it is disabled."""

    cpu: int
    weight: int = 64
    gro_flush_timeout: int = 0
    defer_hard_irqs: int = 0
    defer_left: int = 0
    timer: int | None = None
    scheduled: bool = True
    closed: bool = True
    """NPSVC."""
    missed: bool = False
    disabling: bool = False
    busy: bool = False
    threaded: bool = False
    awake: bool = False


@dataclass
class NaiveCpu:
    """Who is to be polled."""

    softirq: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    rest: list[int] = field(default_factory=list)
    """Left in the round that runs."""
    repoll: list[int] = field(default_factory=list)
    in_round: bool = False
    budget: int = 0
    until: int = 0
    """Jiffy at which the round must end."""
    squeezed: int = 0
    rounds: int = 0


class NaiveHost:
    """Instances and CPUs."""

    def __init__(self, instances: list[Instance], cpus: int, *, budget: int = 300, budget_usecs: int = 2000, hz: int = 1000):
        self.napis = instances
        self.cpus = [NaiveCpu() for _ in range(cpus)]
        self.budget, self.budget_usecs, self.hz = budget, budget_usecs, hz

    # Who may poll.

    def schedule(self, number: int) -> bool:
        """An interrupt, or anybody, wants a poll."""
        napi = self.napis[number]
        if napi.disabling:
            return False
        if napi.scheduled:
            napi.missed = True
            return False
        napi.scheduled = True
        self.queue(number)
        return True

    def queue(self, number: int) -> None:
        napi = self.napis[number]
        cpu = self.cpus[napi.cpu]
        (cpu.threads if napi.threaded else cpu.softirq).append(number)

    def timer(self, number: int) -> bool:
        """The watchdog fires: it does not leave MISSED."""
        napi = self.napis[number]
        napi.timer = None
        if napi.disabling or napi.scheduled:
            return False
        napi.scheduled = True
        self.queue(number)
        return True

    def complete(self, number: int, work: int, held: bool, now: int) -> tuple[bool, str]:
        """`napi_complete_done`: (may the interrupt come, what GRO flushes: "nothing", "old" or "all")."""
        napi = self.napis[number]
        if napi.busy or napi.closed:
            return False, "nothing"
        timeout, unmask = 0, True
        if work:
            if held:
                timeout = napi.gro_flush_timeout
            napi.defer_left = napi.defer_hard_irqs
        if napi.defer_left:
            napi.defer_left -= 1
            timeout = napi.gro_flush_timeout
            if timeout:
                unmask = False
        napi.awake = False
        if napi.missed:
            napi.missed = False
            self.queue(number)
            unmask = False
        else:
            napi.scheduled = False
            if timeout:
                napi.timer = now + timeout
        return unmask, "old" if timeout else "all"

    def enable(self, number: int, threaded: bool) -> None:
        napi = self.napis[number]
        napi.scheduled = napi.closed = False
        napi.threaded = threaded

    def disable(self, number: int) -> bool:
        """Return whether it is disabled; it is not while somebody owns it."""
        napi = self.napis[number]
        napi.disabling = True
        if napi.scheduled:
            return False
        napi.scheduled = napi.closed = True
        napi.disabling = napi.threaded = napi.awake = napi.missed = False
        napi.timer = None
        return True

    def busy_begin(self, number: int) -> bool:
        napi = self.napis[number]
        if napi.disabling or napi.scheduled or napi.busy:
            return False
        napi.scheduled = napi.busy = True
        return True

    def busy_end(self, number: int) -> None:
        self.napis[number].busy = self.napis[number].missed = False

    # Rounds.

    def round_begin(self, cpu: int, now: int) -> None:
        this = self.cpus[cpu]
        this.in_round = True
        this.rounds += 1
        this.budget = self.budget
        jiffies = -(-self.budget_usecs * self.hz // 1_000_000)
        this.until = now * self.hz // 1_000_000_000 + jiffies
        this.rest, this.softirq = this.softirq, []

    def round_next(self, cpu: int) -> int | None:
        this = self.cpus[cpu]
        if not this.rest and not this.repoll:
            this.rest, this.softirq = this.softirq, []
        if this.rest:
            return this.rest.pop(0)
        self._round_end(cpu)
        return None

    def round_polled(self, cpu: int, number: int, work: int, repoll: bool, now: int) -> None:
        this = self.cpus[cpu]
        if repoll:
            this.repoll.append(number)
        this.budget -= work
        if this.budget <= 0 or now * self.hz // 1_000_000_000 >= this.until:
            this.squeezed += 1
            self._round_end(cpu)

    def _round_end(self, cpu: int) -> None:
        this = self.cpus[cpu]
        this.softirq = this.rest + this.softirq + this.repoll
        this.rest, this.repoll = [], []
        this.in_round = False
