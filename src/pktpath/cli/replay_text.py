"""What a replay did, as text for a terminal or a pipe."""

from typing import TYPE_CHECKING

import click

from pktpath.cli.common import number, print_table, scaled
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

_BAR = 24
_LATE = 0.05
"""Share of the time that is worth a word when the host needs it after the last arrival."""
_LABEL = 12
_WIDTH = 80
_SHOWN_REASONS = 5
_SHOWN_CPUS = 4
_FRAME_COUNTS = ("merged_frames", "merged", "lost")
"""Counters of losses that are none of a field."""


def print_replay(done: "Replayed", options: "ReplayOptions", gro: "Replayed | None" = None) -> None:
    """Print what each stage did; `gro` is what GRO would have done where LRO merged."""
    _line("card", card_words(options))
    _line("host", host_words(options))
    _line("wire", f"{count_of(done.frames, 'frame')} in {span(done.wire_seconds)}, {rate(done.frames, done.wire_seconds)}")
    late = done.seconds - done.wire_seconds
    drained = f"; the host is done {span(late)} after the last" if late > _LATE * done.seconds and done.frames else ""
    bits = f", {scaled(done.bytes * 8 / done.seconds, 'bit/s')}" if done.seconds else ""
    taken = sum(queue.frames - queue.dropped - queue.no_buffer - queue.waiting for queue in done.queues)
    _line("taken", f"{count_of(taken, 'frame')} out of the rings, {scaled(done.bytes, 'B')}{bits}{drained}")
    click.echo("")
    _print_queues(done)
    click.echo("")
    for label, text in _stages(done, options, gro):
        _line(label, text)
    if done.poll_sizes:
        click.echo("")
        _print_poll_sizes(done)
    click.echo("")
    _print_time(done)
    if found := findings(done, options):
        click.echo("")
        for sentence in found:
            _line("note", sentence)


def _print_queues(done: "Replayed") -> None:
    header = ["queue", "frames", "share", "interrupts", "timers", "polls", "frames/poll", "dropped"]
    rows = []
    for k, queue in enumerate(done.queues):
        if queue.frames:
            taken = queue.frames - queue.dropped - queue.no_buffer - queue.waiting
            per_poll = f"{taken / queue.polls:.2f}" if queue.polls else "-"
            rows.append([
                str(k), number(queue.frames), percent(queue.frames / done.frames), number(queue.interrupts), number(queue.timers),
                number(queue.polls), per_poll, number(queue.dropped + queue.no_buffer),
            ])  # fmt: skip
    print_table(header, rows)
    idle = [k for k, queue in enumerate(done.queues) if not queue.frames]
    if idle:
        click.echo(f"no frames on queue{'s' if len(idle) > 1 else ''} {_ranges(idle)}")


def _stages(done: "Replayed", options: "ReplayOptions", gro: "Replayed | None") -> list[tuple[str, str]]:
    rows = [("balance", f"fullest queue {imbalance(done.queues):.2f} times the mean" if len(done.queues) > 1 else "one queue")]
    timers = f", {number(done.timers)} of gro_flush_timeout's timer" if done.timers else ""
    rows.append(("interrupts", f"{number(done.interrupts)}, {rate(done.interrupts, done.seconds)}{timers}"))
    if options.netif_rx:
        rows.append(("polls", "none: the interrupt handler takes the frames"))
    else:
        rows.append(("polls", _polls(done, options)))
    rounds = sum(cpu.rounds for cpu in done.cpus)
    rows.append(("softirq", f"{count_of(rounds, 'round')}, {number(done.time_squeeze)} squeezed (budget or time used up)"))
    rows.append(("drops", _drops(done)))
    seen, frames = done.stack_frames, done.stack_segments
    ratio = f": {frames / seen:.2f} in each" if seen else ""
    rows.append(("stack", f"{count_of(seen, 'frame')} for {number(frames)} of the wire{ratio}"))
    reasons = sorted(done.reasons.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN_REASONS]
    if reasons:
        rows.append(("not merged", ", ".join(f"{word} {number(count)}" for word, count in reasons) + " (docs/reasons.md)"))
    if done.lro:
        rows.append(("lro", ", ".join(f"{word} {number(count)}" for word, count in done.lro.items())))
    if done.losses.get("lost") or gro is not None:
        rows.append(("cut back", _losses(done.losses)))
    if gro is not None:
        rows.append(("with GRO", _losses(gro.losses)))
    waits = ", ".join(f"{name} {span(value / 1e6)}" for name, value in done.wait_us.items())
    rows.append(("waiting", f"from card to stack: {waits}"))
    return rows


def _losses(losses: dict[str, int]) -> str:
    """Say how many frames cutting merged ones again would not give back, and what of them is lost."""
    what = [f"{word} {number(count)}" for word, count in losses.items() if count and word not in _FRAME_COUNTS]
    lost = f"{number(losses['lost'])} of {number(losses['merged'])} merged frames cannot be rebuilt"
    return f"{lost}: {', '.join(what)}" if what else lost


def _polls(done: "Replayed", options: "ReplayOptions") -> str:
    kinds = [
        f"{number(sum(getattr(queue, field) for queue in done.queues))} {word}"
        for field, word in (("empty_polls", "empty"), ("full_polls", f"of the whole weight {options.weight}"))
    ]
    if options.busy_poll:
        kinds.append(f"{number(sum(queue.busy_polls for queue in done.queues))} by a busy polling reader")
    return f"{number(done.polls)} of {done.frames_per_poll:.2f} frames; {', '.join(kinds)}"


def _drops(done: "Replayed") -> str:
    if not dropped(done):
        return "none"
    parts = [f"{name} {number(done.drops[place])} ({counter})" for place, (name, counter) in DROPS.items() if done.drops[place]]
    share = f" = {percent(dropped(done) / done.frames)}" if done.frames else ""
    return ", ".join(parts) + share


def _print_poll_sizes(done: "Replayed") -> None:
    groups = poll_groups(done.poll_sizes)
    most = max(count for _, count in groups)
    rows = [[name, number(count), "█" * max(round(_BAR * count / most), count > 0)] for name, count in groups]
    print_table(["frames in a poll", "polls", ""], rows, left=(0, 2))


def _print_time(done: "Replayed") -> None:
    rows = []
    for stage, seconds in done.seconds_by_stage.items():
        if seconds:
            name, what = STAGES[stage]
            rows.append([name, span(seconds), percent(seconds / done.seconds), what])
    total = sum(done.seconds_by_stage.values())
    rows += [[], ["all", span(total), percent(total / done.seconds if done.seconds else 0), ""]]
    print_table(["host time", "CPU", "of one CPU", "what it is"], rows, left=(0, 3))
    busy = sorted(((cpu.busy, -k) for k, cpu in enumerate(done.cpus) if cpu.busy), reverse=True)
    if busy:
        shown = ", ".join(f"CPU {-k} {percent(share)}" for share, k in busy[:_SHOWN_CPUS])
        more = f", {len(busy) - _SHOWN_CPUS} less busy" if len(busy) > _SHOWN_CPUS else ""
        click.echo(f"busiest: {shown}{more}")


def softnet_lines(done: "Replayed") -> list[str]:
    """Return a line for each CPU as /proc/net/softnet_stat of Linux 6.18 has them: 15 columns in hexadecimal."""
    lines = []
    for k, cpu in enumerate(done.cpus):
        nothing = [0] * 6
        backlog = [0, k, 0, 0]
        columns = [cpu.processed, cpu.dropped, cpu.time_squeeze, *nothing, cpu.received_rps, cpu.flow_limit_count, *backlog]
        lines.append(" ".join(f"{value & 0xFFFFFFFF:08x}" for value in columns))
    return lines


def print_compared(rows: "list[Compared]") -> None:
    """Print what each switch is worth."""
    click.echo("")
    header = ["one switch", "interrupts", "polls", "stack", "drops", "CPU", "ratio", "p99"]
    cells = [
        [
            row.name,
            *map(number, (row.interrupts, row.polls, row.stack_frames, row.drops)),
            span(row.cpu_seconds),
            "-" if row.ratio is None else f"{row.ratio:.2f}",
            span(row.wait_p99_us / 1e6),
        ]
        for row in rows
    ]
    print_table(header, [cells[0], [], *cells[1:]])
    click.echo("interrupts with timers; stack: frames that it sees; CPU: of all CPUs; ratio: CPU")
    click.echo("for a delivered frame, beside the first row's; p99: what 99 of 100 frames wait")
    if any(row.lost for row in rows):
        lost = ", ".join(f"{row.name} {number(row.lost)}" for row in rows if row.lost)
        click.echo(f"frames that cutting merged ones would not give back: {lost}; else 0")
    words = dict.fromkeys((row.name, row.flags) for row in rows if row.flags and not row.flags.startswith("-K"))
    for name, flags in words:
        click.echo(f"  {name}: {flags}")


# Lines


def _line(label: str, text: str) -> None:
    """Print a label and a text, broken between words where it is long."""
    width = _WIDTH - _LABEL
    line = ""
    head = label.ljust(_LABEL)
    for word in text.split(" "):
        if line and len(line) + 1 + len(word) > width:
            click.echo(head + line)
            line, head = word, " " * _LABEL
        else:
            line = f"{line} {word}" if line else word
    click.echo((head + line).rstrip())


def _ranges(numbers: list[int]) -> str:
    """Return numbers in order with runs as 3-7."""
    parts: list[list[int]] = []
    for value in numbers:
        if parts and value == parts[-1][1] + 1:
            parts[-1][1] = value
        else:
            parts.append([value, value])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)
