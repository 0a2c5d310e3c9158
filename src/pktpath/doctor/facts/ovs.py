"""Facts about Open vSwitch, and about pktpath's own switch, which prints the same texts."""

from dataclasses import dataclass, field

from pktpath.doctor.facts.base import Fact, Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Datapath(Fact):
    """A datapath of `dpctl/show`."""

    identity = ("name",)
    name: str
    """`system@ovs-system`, `netdev@ovs-netdev`."""
    hit: int
    missed: int
    lost: int
    flows: int
    mask_hit: int | None = None
    masks: int | None = None
    hit_per_packet: float | None = None
    """Masks looked up for each packet."""
    cache_hit: int | None = None
    """Hits of the kernel's mask cache."""
    places: dict[str, Place] = field(default_factory=dict, hash=False, compare=False, repr=False)
    """Where it says so, by the line's first word: `lookups` (also `at`), `flows`, `masks`, `cache`."""

    @property
    def userspace(self) -> bool:
        """Whether ovs-vswitchd itself moves the packets."""
        return self.name.startswith("netdev@")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatapathPort(Fact):
    """A port of `dpctl/show`; its counters (-s) are `Counter`s of the group `dpport`, owner `datapath port`; `?` has none."""

    identity = ("datapath", "number")
    datapath: str
    number: int
    name: str
    kind: str = ""
    """In brackets: `internal`, `tap`, `vxlan`, `dpdkvhostuserclient`."""
    options: str = ""
    """The rest of the brackets: `configured_rx_queues=1, …`, `packet_type=ptap`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Megaflow(Fact):
    """A flow of `dpctl/dump-flows`. Of very long dumps only the first thousands and those with most packets are kept."""

    identity = ("match",)
    match: str
    actions: str
    packets: int
    bytes: int
    used: float | None
    """Seconds since its last packet; None for never."""
    offloaded: str = ""
    """`yes`, `partial`, empty where not said."""
    dp: str = ""
    """`ovs`, `tc`, `dpdk`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MegaflowTotals(Fact):
    """All flows of one dump together."""

    flows: int
    packets: int
    bytes: int
    offloaded: int
    """Flows that hardware does."""
    to_userspace: int
    """Flows whose actions end in userspace(...)."""
    drops: int
    """Flows whose action is drop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PmdThread(Fact):
    """A thread of `pmd-stats-show` or `pmd-perf-show`."""

    thread: str
    """`pmd thread numa_id 0 core_id 1`, `main thread`."""
    numa: int | None
    core: int | None
    """None for the main thread."""
    stats: dict[str, float] = field(hash=False)
    """Numbers by the tool's own words: `packets received`, `emc hits`, `megaflow hits`, `miss with failed upcall`, `idle cycles`,
    `processing cycles`, `avg cycles per packet`; of pmd-perf-show `Iterations`, `idle iterations`, `busy iterations`,
    `sleep iterations`, `Rx packets`, `Tx packets`, `Upcalls`, `Lost upcalls`, `rx batches`, `cycles/pkt`, `us/it`."""
    shares: dict[str, float] = field(default_factory=dict, hash=False)
    """Per cents that stand behind some of them: `idle cycles` 100.0."""
    seconds: float | None = None
    """Measurement duration of pmd-perf-show."""
    places: dict[str, Place] = field(default_factory=dict, hash=False, compare=False, repr=False)
    """The line of each name in `stats`."""

    @property
    def key(self) -> tuple[str, bool]:
        """Return which thread of which table it is."""
        return self.thread, "Iterations" in self.stats


@dataclass(frozen=True, slots=True, kw_only=True)
class Rxq(Fact):
    """A queue of `pmd-rxq-show`."""

    identity = ("port", "queue")
    numa: int
    core: int
    isolated: bool
    port: str
    queue: int
    enabled: bool
    usage: float | None
    """Per cent of the thread; None for NOT AVAIL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PmdOverhead(Fact):
    """The line `overhead:` of a thread in `pmd-rxq-show`."""

    identity = ("core",)
    numa: int
    core: int
    usage: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageEvent(Fact):
    """A line of `coverage/show`: mean rates a second over three spans."""

    identity = ("name",)
    name: str
    five_seconds: float
    minute: float
    hour: float
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Upcalls(Fact):
    """A datapath of `upcall/show`."""

    identity = ("datapath",)
    datapath: str
    current: int
    average: int
    maximum: int
    limit: int
    dump_ms: int | None
    offloaded: int | None = None
    """`offloaded flows`, which it says only while other_config:hw-offload is on."""
    places: dict[str, Place] = field(default_factory=dict, hash=False, compare=False, repr=False)
    """Where it says so: `flows` (also `at`), `dump duration`, `offloaded flows`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OvsBridge(Fact):
    """A bridge of `ovs-vsctl show`."""

    identity = ("name",)
    name: str
    datapath_type: str = ""
    """`netdev`, `system`, empty for the default (system)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OvsInterface(Fact):
    """An interface of `ovs-vsctl show` or `list interface`."""

    identity = ("name",)
    bridge: str
    """Empty where the text does not say."""
    name: str
    kind: str = ""
    """`vxlan`, `internal`, `patch`, `dpdk`, `dpdkvhostuserclient`, `afxdp`; empty for a device of the system."""
    options: dict[str, str] = field(default_factory=dict, hash=False)
    status: dict[str, str] = field(default_factory=dict, hash=False)
    error: str = ""
