"""Facts about traffic that somebody sent to see what arrives: iperf3, ping, a client that connects."""

from dataclasses import dataclass

from pktpath.doctor.facts.base import Fact


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer(Fact):
    """A run of iperf3 (or iperf)."""

    tool: str
    target: str = ""
    """The server, where the command or the greeting names it."""
    protocol: str = "tcp"
    sent: float | None = None
    """Bits a second, of the sender's last line."""
    received: float | None = None
    retransmits: int | None = None
    lost: float | None = None
    """Per cent of datagrams."""
    still: int = 0
    """Intervals at the end, or before the summary, in which nothing was sent (TCP)."""
    window: float | None = None
    """Bytes of the congestion window in the last of these."""
    error: str = ""
    """What it said instead: `unable to connect to server: Connection timed out`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping(Fact):
    """A run of ping; milliseconds."""

    target: str
    sent: int
    received: int
    minimum: float | None = None
    average: float | None = None
    maximum: float | None = None
    size: int | None = None
    """Bytes of payload, as the first line says."""
    error: str = ""
    """`message too long, mtu=1450`, `Destination Host Unreachable`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection(Fact):
    """How long a client took to connect, or with its whole work where only that is told."""

    tool: str
    """`curl`, `nc`."""
    seconds: float
    failed: bool = False
    """Whether it gave up in the end."""
