"""Facts about network devices: what is switched, and how they are built on each other."""

from dataclasses import dataclass, field

from pktpath.doctor.facts.base import Fact


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFeature(Fact):
    """A line of `ethtool -k`."""

    identity = ("dev", "name")
    dev: str
    name: str
    """As printed: a kernel name (`tx-tcp-segmentation`) or one of ethtool's groups (`tcp-segmentation-offload`)."""
    active: bool
    fixed: bool = False
    """The driver, or what is below the device, leaves no choice."""
    requested: bool | None = None
    """What somebody asked for where that is not what is: `off [requested on]`."""
    group: str = ""
    """The line above that it is indented under."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureChange(Fact):
    """A line under `Actual changes:` of `ethtool -K`."""

    identity = ("dev", "name", "command")
    dev: str
    name: str
    active: bool
    asked: bool
    """False for `[not requested]`: another feature dragged it along."""
    command: str
    """What was typed, such as `ethtool -K e1 tx off`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limit(Fact):
    """How many there are and could be; None where the driver says n/a."""

    identity = ("dev", "which")
    dev: str
    which: str
    """`rx`, `tx`; of rings `rx-mini` and `rx-jumbo` too, of channels `other` and `combined`."""
    maximum: int | None
    current: int | None


class Ring(_Limit):
    """Descriptors of a ring of `ethtool -g`."""

    __slots__ = ()


class Channels(_Limit):
    """Queues of a kind of `ethtool -l`."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Coalesce(Fact):
    """A value of `ethtool -c`, as printed: `rx-usecs` `3`, `adaptive-rx` `on`, `n/a`."""

    identity = ("dev", "name")
    dev: str
    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause(Fact):
    """A line of `ethtool -a`: flow control of the link."""

    identity = ("dev", "which")
    dev: str
    which: str
    """`autonegotiate`, `rx` (it waits when told to), `tx` (it tells the other end to wait)."""
    state: str
    """`on`, `off`, `n/a`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkMode(Fact):
    """What `ethtool DEV` says of the link: how fast it is, and how fast it could be."""

    identity = ("dev",)
    dev: str
    speed: int | None
    """Mb/s; None where it is unknown."""
    full: bool | None
    """Whether duplex is full; None where it is unknown."""
    negotiated: bool | None = None
    """Whether auto-negotiation is on; None where nobody said."""
    detected: bool = True
    supported: frozenset[str] = frozenset()
    """`1000baseT/Full`."""
    advertised: frozenset[str] = frozenset()
    partner: frozenset[str] = frozenset()
    """What the other end advertises; empty where nobody said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Indirection(Fact):
    """The indirection table of `ethtool -x`."""

    identity = ("dev",)
    dev: str
    rings: int
    """Receive queues that the device has."""
    table: tuple[int, ...]
    """The queue of each hash value, in order."""
    function: str = ""
    """The hash that is on: `toeplitz`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver(Fact):
    """`ethtool -i`."""

    identity = ("dev",)
    dev: str
    driver: str
    version: str = ""
    firmware: str = ""
    bus: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link(Fact):
    """A device of `ip -d link`; its counters are `Counter`s of the group `link`."""

    identity = ("dev",)
    dev: str
    index: int
    flags: frozenset[str]
    """`UP`, `LOWER_UP`, `NO-CARRIER`, `PROMISC`, …"""
    mtu: int
    qdisc: str = ""
    state: str = ""
    """`UP`, `DOWN`, `UNKNOWN`, `LOWERLAYERDOWN`."""
    master: str = ""
    """The bridge, bond or `ovs-system` that it belongs to."""
    lower: str = ""
    """After @ in the name: the device below, the peer of a veth (`if25`)."""
    kind: str = ""
    """`veth`, `vxlan`, `bridge`, `bond`, `tun`, `vlan`, `openvswitch`, `geneve`; empty for a card or where nobody said."""
    words: dict[str, str] = field(default_factory=dict, hash=False)
    """The other details: `id`, `dstport`, `udpcsum`, `gso_max_size`, `numrxqueues`, `address`; flags have an empty value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Qdisc(Fact):
    """A queueing discipline of `tc -s qdisc`; its counters are `Counter`s of the group `qdisc` whose owner is `owner`."""

    identity = ("owner",)
    dev: str
    kind: str
    handle: str
    parent: str = ""
    """`root`, `:1`."""
    options: str = ""

    @property
    def owner(self) -> str:
        """Return what its counters belong to."""
        return f"{self.dev} {self.kind} {self.handle} {self.parent}".rstrip()
