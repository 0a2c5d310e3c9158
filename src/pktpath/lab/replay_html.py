"""A replay as one page: text and inline SVG, no script, nothing that is loaded from elsewhere.

Enters: what a replay told. Leaves: HTML that is well-formed XML too. The same replay gives the same page.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pktpath import __version__
from pktpath.control.plural import count_of
from pktpath.lab.replay_words import (
    DROPS,
    STAGES,
    card_words,
    dropped,
    findings,
    host_words,
    imbalance,
    percent,
    poll_groups,
    rate,
    span,
)

if TYPE_CHECKING:
    from pktpath.path.compare import Compared
    from pktpath.path.replay_types import Replayed, ReplayOptions

_WIDE, _HIGH = 1000, 100
"""Units of a drawing; it is stretched to the room that there is, so only boxes and steps are drawn, no words."""
_ROWS = (("arrived", "frames from the wire"), ("interrupt", "interrupts"), ("delivered", "frames to the stack"),
         ("dropped", "frames dropped"))  # fmt: skip
_REASONS = 6


class Part(NamedTuple):
    """A piece of a bar."""

    share: float
    """Of the whole width."""
    kind: str
    """Class that colours it."""


class Bar(NamedTuple):
    """A line with a bar: what it is, how long, and the numbers behind it."""

    name: str
    drawing: Markup
    text: str


class Row(NamedTuple):
    """One line of the picture over time."""

    name: str
    drawing: Markup
    text: str


def bar(parts: Iterable[Part]) -> Markup:
    """Return a bar of parts beside each other."""
    at = 0.0
    boxes = []
    for share, kind in parts:
        width = min(max(share, 0.0), 1.0) * _WIDE
        boxes.append(Markup('<rect class="{}" x="{:.2f}" y="0" width="{:.2f}" height="{}" />').format(kind, at, width, _HIGH))
        at += width
    return _svg("bar", boxes)


def steps(values: Sequence[float], most: float, kind: str, behind: Sequence[float] = ()) -> Markup:
    """Return equal intervals as steps below a line, `behind` as a shadow of the same scale."""
    shapes = [
        Markup('<path class="{}" d="{}" />').format(name, _steps(line, most))
        for name, line in (("shadow", behind), (kind, values))
        if line
    ]
    return _svg("steps", shapes)


def _steps(values: Sequence[float], most: float) -> str:
    wide = _WIDE / len(values)
    words = [f"M0 {_HIGH}"]
    before = None
    for k, value in enumerate(values):
        high = round(_HIGH * (1 - value / most), 2) if most else _HIGH
        if high != before:
            words.append(f"H{k * wide:.2f}V{high:g}")
        before = high
    return "".join(words) + f"H{_WIDE}V{_HIGH}Z"


def _svg(kind: str, shapes: Iterable[Markup]) -> Markup:
    head = Markup('<svg class="{}" viewBox="0 0 {} {}" preserveAspectRatio="none" aria-hidden="true">').format(kind, _WIDE, _HIGH)
    return head + Markup("").join(shapes) + Markup("</svg>")


def page_of(done: "Replayed", options: "ReplayOptions", compared: "Sequence[Compared]", *, name: str, costs: str) -> str:
    """Return the page.

    Args:
        done: what the replay told.
        options: what it was told.
        compared: what each switch is worth, the base first; may be empty.
        name: the capture, or the traffic, in words.
        costs: the costs as `--cost` takes them.

    """
    environment = Environment(
        loader=PackageLoader("pktpath.lab", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    template = environment.get_template("replay.html.jinja")
    return template.render(
        name=name,
        version=__version__,
        card=card_words(options),
        host=host_words(options),
        costs=costs,
        tiles=_tiles(done, options),
        notes=[*findings(done, options), *done.warnings],
        timeline=_timeline(done),
        times=[span(done.seconds * k / 4) for k in range(5)],
        interval=span(done.interval),
        queues=_queues(done),
        idle=sum(queue.frames == 0 for queue in done.queues),
        balance=f"{imbalance(done.queues):.2f}",
        saved=_saved(done, options),
        reasons=", ".join(f"{word} {count:,}" for word, count in sorted(done.reasons.items(), key=_by_count)[:_REASONS]),
        polls=_polls(done),
        stages=_stages(done),
        cpus=_cpus(done),
        idle_cpus=sum(cpu.busy == 0 for cpu in done.cpus),
        compared=_compared(compared),
    )


def _by_count(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


def _tiles(done: "Replayed", options: "ReplayOptions") -> list[tuple[str, str, str]]:
    each = done.frames / done.interrupts if done.interrupts else 0
    per_frame = f"one for {f'{each:,.0f}' if each >= 100 else f'{each:.3g}'} frame{'' if each == 1 else 's'}" if each else "none"
    merged = f"{done.stack_segments / done.stack_frames:.2f} of the wire in each" if done.stack_frames else "none"
    tiles = [
        ("frames", f"{done.frames:,}", _bits(done)),
        ("interrupts", rate(done.interrupts, done.seconds), per_frame),
        ("frames in a poll", f"{done.frames_per_poll:.2f}" if done.polls else "-", count_of(done.polls, "poll")),
        ("the stack sees", f"{done.stack_frames:,}", merged),
        ("dropped", f"{dropped(done):,}", _drops(done)),
        ("busiest CPU", percent(done.busiest_cpu), f"{span(sum(done.seconds_by_stage.values()))} of CPU time in all"),
    ]
    wait = {name: span(value / 1e6) for name, value in done.wait_us.items()}
    tiles.append(("p99 wait", wait["p99"], f"half {wait['p50']}, most {wait['max']}"))
    return tiles


def _bits(done: "Replayed") -> str:
    bits = done.bytes * 8 / done.seconds if done.seconds else 0
    return f"{bits / 1e9:,.3g} Gbit/s" if bits >= 1e9 else f"{bits / 1e6:,.3g} Mbit/s"


def _drops(done: "Replayed") -> str:
    parts = [f"{name} {done.drops[place]:,}" for place, (name, _) in DROPS.items() if done.drops[place]]
    return ", ".join(parts) or "nothing"


def _timeline(done: "Replayed") -> list[Row]:
    arrived = done.timeline["arrived"]
    most = max(max(done.timeline[event], default=0) for event, _ in _ROWS)
    rows = []
    for event, name in _ROWS:
        values = done.timeline[event]
        total, peak = sum(values), max(values, default=0)
        if total or event != "dropped":
            seconds = done.wire_seconds if event == "arrived" else done.seconds
            text = f"{rate(total, seconds)} on average, {rate(peak, done.interval)} at the most"
            rows.append(Row(name, steps(values, most, event, () if event == "arrived" else arrived), text))
    return rows


def _queues(done: "Replayed") -> list[Bar]:
    most = max(queue.frames for queue in done.queues)
    rows = []
    for number, queue in enumerate(done.queues):
        if queue.frames:
            lost = queue.dropped + queue.no_buffer
            share = percent(queue.frames / done.frames)
            text = f"{queue.frames:,} = {share}; {count_of(queue.interrupts, 'interrupt')}"
            parts = (Part((queue.frames - lost) / most, "taken"), Part(lost / most, "dropped"))
            rows.append(Bar(f"queue {number}", bar(parts), text + (f"; {lost:,} dropped" if lost else "")))
    return rows


def _saved(done: "Replayed", options: "ReplayOptions") -> list[Bar]:
    entries = done.interrupts + done.timers
    lines = [
        ("on the wire", done.frames, "arrived"),
        ("interrupts", entries, "interrupt"),
        *([] if options.netif_rx else [("polls", done.polls, "taken")]),
        ("to the stack", done.stack_frames, "delivered"),
    ]
    most = max(count for _, count, _ in lines) or 1
    return [
        Bar(name, bar((Part(count / most, kind),)), f"{count:,}" + (f" = {percent(count / done.frames)}" if done.frames else ""))
        for name, count, kind in lines
    ]


def _polls(done: "Replayed") -> list[Bar]:
    groups = poll_groups(done.poll_sizes)
    most = max((count for _, count in groups), default=1)
    words = ((f"{name} frame{'' if name == '1' else 's'}", count) for name, count in groups)
    return [Bar(name, bar((Part(count / most, "taken"),)), count_of(count, "poll")) for name, count in words]


def _stages(done: "Replayed") -> list[dict[str, str]]:
    return [
        {
            "kind": stage,
            "name": STAGES[stage][0],
            "what": STAGES[stage][1],
            "time": span(seconds),
            "share": percent(seconds / done.seconds),
        }
        for stage, seconds in done.seconds_by_stage.items()
        if seconds
    ]


def _cpus(done: "Replayed") -> list[Bar]:
    rows = []
    for number, cpu in enumerate(done.cpus):
        if cpu.busy:
            parts = [Part(seconds / done.seconds, f"stage-{stage}") for stage, seconds in cpu.seconds.items() if seconds]
            rows.append(Bar(f"CPU {number}", bar(parts), f"{percent(cpu.busy)} busy"))
    return rows


def _compared(rows: "Sequence[Compared]") -> list[dict[str, Any]]:
    most = max((row.cpu_seconds for row in rows), default=0) or 1
    return [
        {
            "name": row.name,
            "flags": row.flags,
            "drawing": bar((Part(row.cpu_seconds / most, "base" if not row.flags else "taken"),)),
            "ratio": "-" if row.ratio is None else f"{row.ratio:.2f}",
            "cells": [
                span(row.cpu_seconds), f"{row.interrupts:,}", f"{row.polls:,}", f"{row.stack_frames:,}", f"{row.drops:,}",
                span(row.wait_p99_us / 1e6),
            ],
        }
        for row in rows
    ]  # fmt: skip
