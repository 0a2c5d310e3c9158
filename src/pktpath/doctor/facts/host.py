"""Facts about a host: counters, interrupts, settings, its log."""

from dataclasses import dataclass

from pktpath.doctor.facts.base import Fact


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter(Fact):
    """A number that only rises, until what it counts is made anew."""

    group: str
    """Who counts: `softnet`, `nstat`, `link`, `nic` (ethtool -S), `qdisc`, `dpport`, `softirq`, `memory` (ovs, not rising)."""
    owner: str
    """What it counts for: `cpu0`, a device, `eth0 mq 0:`; empty for the whole host."""
    name: str
    """As the tool names it; protocol counters as nstat does (`TcpInCsumErrors`), links as rtnl (`rx_dropped`)."""
    value: int

    @property
    def key(self) -> tuple[str, str, str]:
        """Return who counts what for whom."""
        return self.group, self.owner, self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupt(Fact):
    """A line of /proc/interrupts."""

    irq: str
    label: str
    """Device and queue, such as `eth0-TxRx-3`; empty where the table says nothing."""
    chip: str
    """The controller's words in between."""
    counts: tuple[int, ...]
    cpus: tuple[int, ...]
    """The CPU of each count: those that are on line."""

    @property
    def key(self) -> tuple[str, str]:
        """Return which interrupt it is."""
        return self.irq, self.label


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuTime(Fact):
    """What a CPU did, in seconds (/proc/stat) or per cent (top, mpstat)."""

    cpu: str
    """`0`, `1`; empty for all together."""
    per_cent: bool
    user: float
    nice: float = 0.0
    system: float = 0.0
    idle: float = 0.0
    iowait: float = 0.0
    irq: float = 0.0
    softirq: float = 0.0
    steal: float = 0.0

    @property
    def key(self) -> tuple[str, bool]:
        """Return which CPU it is."""
        return self.cpu, self.per_cent


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting(Fact):
    """A switch with a name: `net.core.netdev_budget`, `pmd-cpu-mask`, `eth0/queues/rx-0/rps_cpus`."""

    where: str
    """`sysctl`, `sysfs`, `other_config`, `irq` (smp_affinity_list), `cmdline`."""
    name: str
    value: str

    @property
    def key(self) -> tuple[str, str]:
        """Return which switch it is."""
        return self.where, self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores(Fact):
    """CPUs of a NUMA node."""

    node: int
    cpus: tuple[int, ...]

    @property
    def key(self) -> tuple[int]:
        """Return which node it is."""
        return (self.node,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel(Fact):
    """Version of the running kernel."""

    release: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogMessage(Fact):
    """A line of the kernel's log, or of a daemon's."""

    program: str
    """`kernel`, `ovs-vswitchd`."""
    message: str
