"""One measured cost: what it may be, what was found, how it reads."""

import math
from collections.abc import Sequence
from typing import NamedTuple

BLOCKS = 5
"""A figure is the median of so many; its spread is where they lie without the least and the greatest."""
STEPS = 5 + BLOCKS
"""Of a whole calibration: each cost of the clock, the devices, each block of frames."""


class Unit(NamedTuple):
    """What a cost is counted in, and what a machine can need for it at all."""

    name: str
    least: int
    most: int


UNITS = {
    "irq": Unit("ns", 100, 100_000),
    "poll": Unit("ns", 20, 50_000),
    "frame": Unit("ns", 10, 20_000),
    "gro": Unit("ns", 5, 20_000),
    "stack": Unit("ns", 50, 50_000),
    "byte": Unit("ps", 5, 5_000),
    "sum": Unit("ps", 5, 5_000),
    "ipi": Unit("ns", 100, 100_000),
    "wake": Unit("ns", 100, 100_000),
}
"""The costs, in the order of `Costs`. A figure outside of its limits is a fault of the measurement, not a cost."""


class Figure(NamedTuple):
    """A cost as it was measured."""

    cost: str
    """A field of `Costs`."""
    value: float
    low: float
    high: float
    how: str
    """What was done and what the figure contains."""


class Missing(NamedTuple):
    """A cost that keeps its default."""

    cost: str
    why: str


class Unmeasurable(Exception):  # noqa: N818  it says what the thing is
    """Why a cost cannot be measured here; one line without a full stop."""


def figure(cost: str, blocks: Sequence[float], how: str) -> Figure | Missing:
    """Return a cost from what each block of the measurement says, or why they are not to be believed."""
    unit = UNITS[cost]
    if len(blocks) != BLOCKS or not all(math.isfinite(block) for block in blocks):
        return Missing(cost, "too few samples: the machine is too busy")
    _, low, value, high, _ = sorted(blocks)
    if not unit.least <= value <= unit.most or low <= 0:
        return Missing(
            cost,
            f"measured {value:.0f} {unit.name} ({low:.0f} to {high:.0f}), which is no cost ({unit.least} to {unit.most}): "
            "the machine is too busy or too unlike what this measures",
        )
    return Figure(cost, value, low, high, how)


def line(found: Figure) -> str:
    """Return a figure as a line to read."""
    unit = UNITS[found.cost].name
    return f"{found.cost:<5} {found.value:6.0f} {unit}  ({found.low:.0f} to {found.high:.0f})  {found.how}"
