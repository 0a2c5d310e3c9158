"""Facts about traffic that somebody sent to see what arrives: iperf3, ping."""

from dataclasses import dataclass

from pktpath.doctor.facts.base import Fact


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer(Fact):
    """A run of iperf3 (or iperf)."""

    tool: str
    protocol: str = "tcp"
    sent: float | None = None
    """Bits a second, of the sender's last line."""
    received: float | None = None
    retransmits: int | None = None
    lost: float | None = None
    """Per cent of datagrams."""
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
