"""Facts of perf: counts, hot symbols and instructions, sampled stacks."""

from dataclasses import dataclass

from pktpath.doctor.facts.base import Fact


@dataclass(frozen=True, slots=True, kw_only=True)
class PerfCount(Fact):
    """An event of `perf stat`."""

    identity = ("target", "event")
    target: str
    """`process id '2291'`, `thread id '25650'`, `system wide`."""
    event: str
    """`cycles`, `task-clock`; modifiers such as :u left out."""
    value: float | None
    """None for <not supported> and <not counted>."""
    unit: str = ""
    """`msec` for task-clock, else empty."""
    state: str = ""
    """`not supported`, `not counted`, empty."""
    elapsed: float | None = None
    """Seconds that perf stat counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HotSymbol(Fact):
    """A line of `perf report` or `perf top`."""

    identity = ("command", "object", "symbol", "profile")
    percent: float
    command: str
    """The thread's name; empty where the table has none."""
    object: str
    """`ovs-vswitchd`, `[vdso]`, `[kernel]`, `librte_vhost.so.4.1`."""
    symbol: str
    """A name, or an address (`0x00000000000ad2ef`) where the program is stripped."""
    kernel: bool
    profile: int = 0
    """Which profile it belongs to: a document may hold several, and each has a number of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HotInstruction(Fact):
    """An instruction of `perf annotate` with samples."""

    percent: float
    """Of the samples in its function."""
    function: str
    """Where the listing says it, else empty."""
    instruction: str
    """`mrs    x2, cntvct_el0`."""
    before: str = ""
    """The instruction before it: an interrupt comes late, so samples often lie one behind what took the time."""

    @property
    def key(self) -> tuple[str, str, int]:
        """Return which instruction it is; equal ones of a function are told apart by their lines."""
        return self.function, self.instruction, self.at.line


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledStack(Fact):
    """Equal stacks of `perf script`, folded."""

    identity = ("command", "tid", "frames")
    command: str
    tid: int
    """0 where threads were put together."""
    frames: tuple[str, ...]
    """Outermost function first, as flame graphs are drawn."""
    samples: int
