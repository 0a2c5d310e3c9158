"""Facts about a host: counters, interrupts, settings, its log."""

from dataclasses import dataclass

from pktpath.doctor.facts.base import Fact


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter(Fact):
    """A number that only rises, until what it counts is made anew."""

    identity = ("group", "owner", "name")
    group: str
    """Who counts: `softnet`, `nstat`, `link`, `nic` (ethtool -S), `qdisc`, `dpport`, `softirq`,
    `conntrack`, `memory` (ovs, not rising)."""
    owner: str
    """What it counts for: `cpu0`, a device, `eth0 mq 0:`; empty for the whole host."""
    name: str
    """As the tool names it; protocol counters as nstat does (`TcpInCsumErrors`), links as rtnl (`rx_dropped`)."""
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupt(Fact):
    """A line of /proc/interrupts."""

    identity = ("irq", "label")
    irq: str
    label: str
    """Device and queue, such as `eth0-TxRx-3`; empty where the table says nothing."""
    chip: str
    """The controller's words in between."""
    counts: tuple[int, ...]
    cpus: tuple[int, ...]
    """The CPU of each count: those that are on line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuTime(Fact):
    """What a CPU did, in seconds (/proc/stat) or per cent (top, mpstat)."""

    identity = ("cpu", "per_cent")
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting(Fact):
    """A switch with a name: `net.core.netdev_budget`, `pmd-cpu-mask`, `eth0/queues/rx-0/rps_cpus`."""

    identity = ("where", "name")
    where: str
    """`sysctl`, `sysfs`, `other_config`, `irq` (smp_affinity_list), `cmdline`."""
    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores(Fact):
    """CPUs of a NUMA node."""

    identity = ("node",)
    node: int
    cpus: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel(Fact):
    """Version of the running kernel."""

    release: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelLog(Fact):
    """The kernel's log was read, whether or not it says anything that matters."""

    lines: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogMessage(Fact):
    """A line of the kernel's log, or of a daemon's."""

    program: str
    """`kernel`, `ovs-vswitchd`; empty for a daemon of Open vSwitch or OVN that is not known."""
    message: str
