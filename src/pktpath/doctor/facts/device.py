"""Facts about network devices: what is switched, and how they are built on each other."""

from dataclasses import dataclass, field

from pktpath.doctor.facts.base import Fact


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFeature(Fact):
    """A line of `ethtool -k`."""

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

    @property
    def key(self) -> tuple[str, str]:
        """Return which feature of which device it is."""
        return self.dev, self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureChange(Fact):
    """A line under `Actual changes:` of `ethtool -K`."""

    dev: str
    name: str
    active: bool
    asked: bool
    """False for `[not requested]`: another feature dragged it along."""
    command: str
    """What was typed, such as `ethtool -K e1 tx off`."""

    @property
    def key(self) -> tuple[str, str, str]:
        """Return which change it is."""
        return self.dev, self.name, self.command


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring(Fact):
    """A ring of `ethtool -g`; None where the driver says n/a."""

    dev: str
    which: str
    """`rx`, `rx-mini`, `rx-jumbo`, `tx`."""
    maximum: int | None
    current: int | None

    @property
    def key(self) -> tuple[str, str]:
        """Return which ring it is."""
        return self.dev, self.which


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels(Fact):
    """A kind of queues of `ethtool -l`; None where the driver says n/a."""

    dev: str
    which: str
    """`rx`, `tx`, `other`, `combined`."""
    maximum: int | None
    current: int | None

    @property
    def key(self) -> tuple[str, str]:
        """Return which kind of queue it is."""
        return self.dev, self.which


@dataclass(frozen=True, slots=True, kw_only=True)
class Coalesce(Fact):
    """A value of `ethtool -c`, as printed: `rx-usecs` `3`, `adaptive-rx` `on`, `n/a`."""

    dev: str
    name: str
    value: str

    @property
    def key(self) -> tuple[str, str]:
        """Return which value it is."""
        return self.dev, self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Indirection(Fact):
    """The indirection table of `ethtool -x`."""

    dev: str
    rings: int
    """Receive queues that the device has."""
    table: tuple[int, ...]
    """The queue of each hash value, in order."""
    function: str = ""
    """The hash that is on: `toeplitz`."""

    @property
    def key(self) -> tuple[str]:
        """Return the device."""
        return (self.dev,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver(Fact):
    """`ethtool -i`."""

    dev: str
    driver: str
    version: str = ""
    firmware: str = ""
    bus: str = ""

    @property
    def key(self) -> tuple[str]:
        """Return the device."""
        return (self.dev,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link(Fact):
    """A device of `ip -d link`; its counters are `Counter`s of the group `link`."""

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

    @property
    def key(self) -> tuple[str]:
        """Return the device."""
        return (self.dev,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Qdisc(Fact):
    """A queueing discipline of `tc -s qdisc`; its counters are `Counter`s of the group `qdisc` whose owner is `owner`."""

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

    @property
    def key(self) -> tuple[str]:
        """Return which one it is."""
        return (self.owner,)
