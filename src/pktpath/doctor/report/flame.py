"""A flame graph of sampled stacks: equal callers beside each other merged, as wide as they were sampled.

Enters: `SampledStack` facts. Leaves: boxes in shares of the whole, and SVG of them. Widths are per cents, so that it fits every
page without a script; the script of the page lets one box fill it.
"""

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from markupsafe import Markup

from pktpath.doctor.facts.perf import SampledStack
from pktpath.doctor.report.words import line_of

ROW = 18
"""Height of a box, with the gap above it, in pixels."""
_DEEPEST = 120
_MOST = 4000
"""Boxes of a picture; the narrowest are left out beyond."""
_NARROWEST = 0.0008
"""Share of the width below which a box is not drawn: less than a pixel."""
_COLOURS = 6


class Box(NamedTuple):
    """One function, called by those below it."""

    name: str
    depth: int
    """0 for the whole."""
    left: float
    """Share of the width, 0 to 1."""
    width: float
    samples: int


@dataclass(slots=True)
class _Node:
    samples: int = 0
    callees: dict[str, "_Node"] = field(default_factory=dict)


class Flame(NamedTuple):
    """Boxes, the lowest first, and what is not among them."""

    boxes: list[Box]
    samples: int
    left_out: int
    """Boxes that would be narrower than can be seen."""


def flame_of(stacks: Iterable[SampledStack]) -> Flame:
    """Merge stacks; callees stand in the order of their names, so that equal samples give equal pictures."""
    root = _Node()
    for stack in stacks:
        if stack.samples <= 0:
            continue
        node = root
        node.samples += stack.samples
        for name in (stack.command or "?", *stack.frames)[:_DEEPEST]:
            node = node.callees.setdefault(name, _Node())
            node.samples += stack.samples
    narrowest = _NARROWEST
    while len(boxes := list(_boxes(root, narrowest))) > _MOST:
        narrowest *= 2
    return Flame(boxes, root.samples, _count(root) - len(boxes) if root.samples else 0)


def _boxes(root: _Node, narrowest: float) -> Iterator[Box]:
    whole = root.samples
    todo = [("all", root, 0, 0)] if whole else []
    while todo:
        name, node, depth, left = todo.pop()
        yield Box(name, depth, left / whole, node.samples / whole, node.samples)
        at = left
        for callee in sorted(node.callees):
            below = node.callees[callee]
            if below.samples / whole >= narrowest:
                todo.append((callee, below, depth + 1, at))
            at += below.samples


def _count(root: _Node) -> int:
    count, todo = 0, [root]
    while todo:
        node = todo.pop()
        count += 1
        todo += node.callees.values()
    return count


def svg_of(flame: Flame) -> Markup:
    """Draw the boxes, the outermost function at the bottom."""
    high = (max((box.depth for box in flame.boxes), default=0) + 1) * ROW
    drawn = Markup("").join(_drawn(box, high, flame.samples) for box in flame.boxes)
    head = Markup('<svg class="flame" width="100%" height="{}" role="img" aria-label="Flame graph of {} samples">')
    return head.format(high, f"{flame.samples:,}") + drawn + Markup("</svg>")


def _drawn(box: Box, high: int, samples: int) -> Markup:
    name = line_of(box.name, 200)
    share = f"{box.samples / samples * 100:.3g} %"
    # A box is a picture in the picture: it cuts off the words that have no room.
    return Markup(
        '<svg class="box c{}" x="{:.4f}%" y="{}" width="{:.4f}%" height="{}" data-x="{:.6f}" data-w="{:.6f}" data-name="{}">'
        '<title>{}: {} of {} samples, {}</title><rect width="100%" height="100%" /><text x="4" y="12.5">{}</text></svg>'
    ).format(
        _colour(box), box.left * 100, high - (box.depth + 1) * ROW + 1, box.width * 100, ROW - 1, box.left, box.width, name,
        name, f"{box.samples:,}", f"{samples:,}", share, name if box.width > 0.02 else "",
    )  # fmt: skip


def _colour(box: Box) -> int:
    return 0 if box.depth == 0 else 1 + zlib.crc32(box.name.encode("utf-8", "replace")) % (_COLOURS - 1)
