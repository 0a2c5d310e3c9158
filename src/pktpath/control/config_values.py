"""What a configuration of the switch says, as values: what `config` reads and the daemon obeys."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

LOCAL_NUMBER = 65534
"""OpenFlow number of a bridge's own port."""
TABLES = ("meters", "groups", "flows")
"""Kinds of table entries, in the order in which they must be loaded: a flow names groups and meters."""


class Entry(NamedTuple):
    """One flow, group or meter as it was written."""

    text: str
    where: str
    """`FILE:LINE: FIELD` for errors, `FILE:LINE` where the file has one entry a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortConfig:
    """One port; a value of None is left to the port. See docs/switch.md for the words."""

    name: str
    type: str
    interface: str
    """The kernel's name of it; that of the port where nothing else is said."""
    where: str = field(default="", compare=False)
    places: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    """`FILE:LINE: FIELD` of each key that the file has, for errors."""
    openflow: int | None = None
    queues: int | None = None
    """None: one, and of an AF_XDP port as many as its interface has."""
    mode: str = "auto"
    netns: str | None = None
    mtu: int | None = None
    tag: int | None = None
    trunks: tuple[int, ...] = ()
    features: tuple[tuple[str, bool], ...] = ()
    """The port's own: what pktpath does on it."""
    device_features: tuple[tuple[str, bool], ...] = ()
    """Those of the kernel's interface, changed while the switch runs."""
    rx_file: str | None = None
    tx_file: str | None = None
    loop: bool = False
    qdisc_bypass: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalConfig:
    """The bridge's own port: a TAP with the bridge's name."""

    address: tuple[str, ...] = ()
    mac: str | None = None
    netns: str | None = None
    mtu: int | None = None
    features: tuple[tuple[str, bool], ...] = ()
    where: str = field(default="", compare=False)
    places: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    """`FILE:LINE: FIELD` of each key that the file has, for errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorConfig:
    """Copies of what passes some ports, sent to another."""

    name: str
    select_all: bool = False
    select_src: tuple[str, ...] = ()
    select_dst: tuple[str, ...] = ()
    output_port: str | None = None
    where: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeConfig:
    """One bridge with its ports and tables."""

    name: str
    where: str = field(default="", compare=False)
    fail_mode: str = "standalone"
    mac_aging: int = 300
    mac_table_size: int = 8192
    mtu: int | None = None
    local: LocalConfig | None = None
    flows: tuple[Entry, ...] = ()
    groups: tuple[Entry, ...] = ()
    meters: tuple[Entry, ...] = ()
    mirrors: tuple[MirrorConfig, ...] = ()
    ports: tuple[PortConfig, ...] = ()

    def entries(self, kind: str) -> tuple[Entry, ...]:
        """Return the flows, groups or meters (`TABLES`)."""
        found: tuple[Entry, ...] = getattr(self, kind)
        return found

    def local_port(self) -> PortConfig | None:
        """Return the LOCAL port as a port of type internal, None where it is off."""
        if self.local is None:
            return None
        return PortConfig(
            name=self.name,
            type="internal",
            interface=self.name,
            where=self.local.where,
            places=self.local.places,
            openflow=LOCAL_NUMBER,
            netns=self.local.netns,
            mtu=self.local.mtu or self.mtu,
            features=self.local.features,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchConfig:
    """A whole file."""

    file: str
    run_dir: str
    state_dir: str
    name: str = "pktpath"
    metrics: tuple[str, int] | None = None
    schedule: str = "interrupt"
    cores: tuple[int, ...] = ()
    sleep_max_us: int = 0
    rx_delay_us: int = 0
    weight: int = 64
    emc: bool = True
    emc_insert_inv_prob: int = 100
    flow_limit: int = 200_000
    max_idle_ms: int = 10_000
    upcall_queue: int = 4096
    controller_rate: int = 1000
    user: str | None = None
    bridges: tuple[BridgeConfig, ...] = ()
    places: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    """`FILE:LINE: FIELD` of each key that the file has, for errors."""

    @property
    def control(self) -> str:
        """Path of the control socket."""
        return f"{self.run_dir}/{self.name}.ctl"

    @property
    def pidfile(self) -> str:
        """Path of the file with the process's number, which also is the lock."""
        return f"{self.run_dir}/{self.name}.pid"

    def bridge(self, name: str) -> BridgeConfig | None:
        """Return the bridge of this name."""
        return next((bridge for bridge in self.bridges if bridge.name == name), None)
