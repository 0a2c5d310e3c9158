"""What a replay is told and what it tells: plain values, made without compiled code."""

from dataclasses import dataclass, field
from fractions import Fraction

from pktpath.nic.host_types import Costs, Limits
from pktpath.nic.settings import NicSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOptions:
    """A card, a host and how fast the capture comes."""

    settings: NicSettings = field(default_factory=NicSettings)
    cpus: int | None = None
    """CPUs that take interrupts, queue q at CPU q % cpus; one a queue without."""
    costs: Costs = field(default_factory=Costs)
    limits: Limits = field(default_factory=Limits)
    weight: int = 64
    """Frames in one poll (NAPI_POLL_WEIGHT)."""
    netif_rx: bool = False
    """Receive as before NAPI: an interrupt a frame, and a backlog."""
    busy_poll: int = 0
    """Nanoseconds that a reader polls by itself after its last frame."""
    rps: bool = False
    """Spread frames over all CPUs in software."""
    rfs: bool = False
    """Send frames to the CPU of their reader, in software."""
    speed: Fraction = Fraction(1)
    """How many times faster than captured."""


@dataclass(slots=True, kw_only=True)
class QueueReport:
    """One receive queue."""

    frames: int
    """Frames that RSS sent here."""
    bytes: int
    """Bytes of those that were taken out of the ring."""
    dropped: int
    """Frames that found the ring full."""
    no_buffer: int
    """Frames for which no memory was free."""
    interrupts: int
    timers: int
    """Polls that gro_flush_timeout asked for."""
    polls: int
    empty_polls: int
    full_polls: int
    """Polls that used their weight."""
    busy_polls: int
    waiting: int
    """Frames still in the ring when the capture ended: no interrupt told of them."""


@dataclass(slots=True, kw_only=True)
class CpuReport:
    """One CPU: seconds by stage and the columns of its line in /proc/net/softnet_stat."""

    seconds: dict[str, float]
    busy: float
    """Share of the replayed time."""
    processed: int
    dropped: int
    time_squeeze: int
    received_rps: int
    flow_limit_count: int
    rounds: int


@dataclass(slots=True, kw_only=True)
class Replayed:
    """What the path did with a capture."""

    frames: int
    bytes: int
    seconds: float
    """From the first arrival until the last CPU was done, on the replay's clock."""
    wire_seconds: float
    """From the first arrival to the last, and the mean gap once more: the time of the rate. 0 where all come at once."""
    queues: list[QueueReport]
    cpus: list[CpuReport]
    interrupts: int
    timers: int
    polls: int
    frames_per_poll: float
    time_squeeze: int
    """Softirq rounds that ran out of budget or time."""
    drops: dict[str, int]
    """Wire frames dropped, by place."""
    stack_frames: int
    """Frames, merged or not, that the stack saw."""
    stack_segments: int
    """Wire frames in them."""
    waiting: int
    """Wire frames in rings at the end."""
    merged: int
    """Wire frames that were appended to another."""
    reasons: dict[str, int]
    """Frames by why GRO or LRO did not merge them, or what ended them."""
    seconds_by_stage: dict[str, float]
    busiest_cpu: float
    """Share of the time that the busiest CPU worked."""
    wait_us: dict[str, float]
    """Microseconds between card and stack: p50, p99, max."""
    poll_sizes: dict[int, int]
    """Polls by the frames that they took."""
    timeline: dict[str, list[int]]
    """Events in equal intervals."""
    interval: float
    """Seconds in one of them."""
    warnings: list[str]
    damaged: bool
    """The capture ends too early or lies; what came before was replayed."""
    lro: dict[str, int] = field(default_factory=dict)
    """inet_lro's statistics: aggregated, flushed, no_desc."""
    losses: dict[str, int] = field(default_factory=dict)
    """What merging lost, by the names of `path.loss.LOSSES`."""
