"""What a host is told: what its work costs and what bounds its rounds; no compiled code is needed to name it."""

from typing import NamedTuple


class Costs(NamedTuple):
    """What work costs a CPU, in nanoseconds; of a byte in picoseconds.

    The defaults are round figures for a server of the 2020s, see docs/replay.md; `pktpath replay --calibrate`
    measures those of the machine that it runs on.
    """

    irq: int = 1500
    """An interrupt: entry, handler, softirq raised, exit, and what it drives out of the caches."""
    poll: int = 250
    """A call of the driver's poll: entry, doorbell, refill of the ring."""
    frame: int = 150
    """A frame taken out of the ring: descriptor, sk_buff, unmap."""
    gro: int = 60
    """A frame through GRO or LRO."""
    stack: int = 700
    """A frame, merged or not, through IP, transport and socket."""
    byte: int = 50
    """A byte copied to the reader, in picoseconds."""
    sum: int = 40
    """A byte summed up where the card does not verify checksums, in picoseconds."""
    ipi: int = 1000
    """An interrupt from another CPU (RPS)."""
    wake: int = 1200
    """A thread woken up (threaded NAPI)."""


class Limits(NamedTuple):
    """The sysctls of net.core that bound a round."""

    budget: int = 300
    """netdev_budget: frames."""
    budget_usecs: int = 2000
    """netdev_budget_usecs: microseconds, rounded up to jiffies."""
    max_backlog: int = 1000
    """netdev_max_backlog: frames."""
    hz: int = 1000
    """Jiffies in a second (CONFIG_HZ)."""
