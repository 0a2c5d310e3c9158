"""What `ethtool` shows and sets of a device, as values. None: the device does not say, or cannot.

Names are ethtool's words with an underscore; so a change is a mapping from such names to values.
Source: Documentation/networking/ethtool-netlink.rst, include/uapi/linux/ethtool.h.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

Changes = Mapping[str, int]
"""What is to change: names of fields of one of the classes below; switches are 0 or 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """Queues and their interrupts (`-l`, `-L`)."""

    rx_max: int | None = None
    tx_max: int | None = None
    other_max: int | None = None
    combined_max: int | None = None
    rx: int | None = None
    tx: int | None = None
    other: int | None = None
    combined: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rings:
    """Descriptors in each ring (`-g`, `-G`)."""

    rx_max: int | None = None
    rx_mini_max: int | None = None
    rx_jumbo_max: int | None = None
    tx_max: int | None = None
    rx: int | None = None
    rx_mini: int | None = None
    rx_jumbo: int | None = None
    tx: int | None = None
    rx_buf_len: int | None = None
    """Bytes of a receive buffer."""
    tcp_data_split: int | None = None
    """1: headers and data arrive together, 2: apart; 0: not known."""
    cqe_size: int | None = None
    """Bytes of a completion."""
    tx_push: int | None = None
    rx_push: int | None = None
    tx_push_buf_len: int | None = None
    tx_push_buf_len_max: int | None = None
    hds_thresh: int | None = None
    hds_thresh_max: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Coalesce:
    """When the card interrupts (`-c`, `-C`): times in microseconds, rates in frames a second."""

    rx_usecs: int | None = None
    rx_frames: int | None = None
    rx_usecs_irq: int | None = None
    rx_frames_irq: int | None = None
    tx_usecs: int | None = None
    tx_frames: int | None = None
    tx_usecs_irq: int | None = None
    tx_frames_irq: int | None = None
    stats_block_usecs: int | None = None
    adaptive_rx: int | None = None
    adaptive_tx: int | None = None
    pkt_rate_low: int | None = None
    rx_usecs_low: int | None = None
    rx_frames_low: int | None = None
    tx_usecs_low: int | None = None
    tx_frames_low: int | None = None
    pkt_rate_high: int | None = None
    rx_usecs_high: int | None = None
    rx_frames_high: int | None = None
    tx_usecs_high: int | None = None
    tx_frames_high: int | None = None
    sample_interval: int | None = None
    """Seconds."""
    cqe_mode_tx: int | None = None
    """1: the time starts anew with each completion, not with each interrupt."""
    cqe_mode_rx: int | None = None
    tx_aggr_max_bytes: int | None = None
    tx_aggr_max_frames: int | None = None
    tx_aggr_time_usecs: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rxfh:
    """Receive flow hashing (`-x`, `-X`)."""

    rings: int
    """Receive rings; an entry of the table is less."""
    indirection: tuple[int, ...] = ()
    """Ring of each hash value, in order; empty: the device has no table."""
    key: bytes = b""
    """Empty: the device does not show it."""
    functions: Mapping[str, bool] | None = None
    """Each hash function by name, whether it is in use; None: the device does not say."""
    table_only: bool = False
    """The driver answers the older call alone, which knows the table and nothing else."""
    input_xfrm: int | None = None
    """Transformation of the input: 0 none, 1 symmetric-xor, 2 symmetric-or-xor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RxfhChange:
    """A change of receive flow hashing; None: as it is."""

    indirection: tuple[int, ...] | None = None
    """Empty: the device's default."""
    key: bytes | None = None
    function: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverInfo:
    """Who drives the device (`-i`), and which numbers it has for the other commands."""

    driver: str = ""
    version: str = ""
    firmware_version: str = ""
    expansion_rom_version: str = ""
    bus_info: str = ""
    statistics: int = 0
    tests: int = 0
    eeprom: int = 0
    """Bytes."""
    registers: int = 0
    """Bytes."""
    private_flags: int = 0


class Device(Protocol):
    """What `pktpath ethtool` asks of a device: one of the host's, or one of pktpath's own cards.

    Every method raises BadInput for a device that is not there, and Refused where the device or the kernel will not.
    """

    name: str

    def channels(self) -> Channels:
        """Return the numbers of queues."""

    def set_channels(self, changes: Changes) -> None:
        """Change some: rx, tx, other, combined."""

    def rings(self) -> Rings:
        """Return the sizes of rings."""

    def set_rings(self, changes: Changes) -> None:
        """Change some."""

    def coalesce(self) -> Coalesce:
        """Return when the card interrupts."""

    def set_coalesce(self, changes: Changes) -> None:
        """Change some."""

    def rxfh(self) -> Rxfh:
        """Return the table, key and function of receive flow hashing."""

    def set_rxfh(self, change: RxfhChange) -> None:
        """Change some of it at once."""

    def hash_fields(self, flow: str) -> int:
        """Return what the hash covers for a flow type ("tcp4"), as RXH_ bits."""

    def set_hash_fields(self, flow: str, fields: int) -> None:
        """Change it."""

    def statistics(self) -> list[tuple[str, int]]:
        """Return the counters in their order; a name may come twice."""

    def driver(self) -> DriverInfo:
        """Return who drives the device."""
