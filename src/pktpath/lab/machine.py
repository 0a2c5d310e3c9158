"""What this machine says of itself."""

from pathlib import Path


def clock_rate() -> float:
    """Return the cycles in a nanosecond of the time stamp counter, 0 where the kernel does not say."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("cpu MHz"):
                return float(line.split(":")[1]) / 1000
    except (OSError, ValueError):
        pass
    return 0.0
