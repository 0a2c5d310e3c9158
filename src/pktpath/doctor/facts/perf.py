"""Facts of perf: counts, hot symbols and instructions, sampled stacks."""

from dataclasses import dataclass

from pktpath.doctor.facts.base import Fact


@dataclass(frozen=True, slots=True, kw_only=True)
class PerfCount(Fact):
    """An event of `perf stat`."""

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

    @property
    def key(self) -> tuple[str, str]:
        """Return which count of whom it is."""
        return self.target, self.event


@dataclass(frozen=True, slots=True, kw_only=True)
class HotSymbol(Fact):
    """A line of `perf report` or `perf top`."""

    percent: float
    command: str
    """The thread's name; empty where the table has none."""
    object: str
    """`ovs-vswitchd`, `[vdso]`, `[kernel]`, `librte_vhost.so.4.1`."""
    symbol: str
    """A name, or an address (`0x00000000000ad2ef`) where the program is stripped."""
    kernel: bool
    profile: int = 0
    """Which profile of the source it belongs to, from 0: a document may hold several."""

    @property
    def key(self) -> tuple[str, str, str, int]:
        """Return which symbol it is."""
        return self.command, self.object, self.symbol, self.profile


@dataclass(frozen=True, slots=True, kw_only=True)
class HotInstruction(Fact):
    """An instruction of `perf annotate` with samples."""

    percent: float
    """Of the samples in its function."""
    function: str
    """Where the listing says it, else empty."""
    instruction: str
    """`mrs    x2, cntvct_el0`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledStack(Fact):
    """Equal stacks of `perf script`, folded."""

    command: str
    tid: int
    """0 where threads were put together."""
    frames: tuple[str, ...]
    """Outermost function first, as flame graphs are drawn."""
    samples: int
