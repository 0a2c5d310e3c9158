"""One switch at a time: what each is worth for the same frames on the same host.

Enters: the options of a replay and what came of them. Leaves: for each switch, set the other way, what changes.
Where the base already has a switch on, it is set off, and so every row differs from the base in one thing.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from pktpath.features import Feature, request
from pktpath.path.replay_types import Replayed, ReplayOptions

_USECS = 50
_DEFERRED_POLLS = 2
_MANY_QUEUES = 8
_OF_NAPI = ("gro on", "gro off", "lro on", "lro off", "deferral", "threaded", "busy poll")
"""What makes no difference before NAPI."""


class Alternative(NamedTuple):
    """One switch set the other way."""

    name: str
    flags: str
    """What to add to the command line for the same."""
    options: ReplayOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What one run came to."""

    name: str
    flags: str
    interrupts: int
    """Of the card, and timers: both enter the CPU."""
    polls: int
    stack_frames: int
    delivered: int
    """Wire frames that the stack saw, merged or not."""
    drops: int
    cpu_seconds: float
    ratio: float | None
    """CPU seconds for a wire frame that the stack saw, as a multiple of the base's: who drops works less, but for less.
    None where either saw none, or the base works for nothing."""
    busiest_cpu: float
    lost: int
    """Wire frames that cutting merged ones would not give back."""
    wait_p99_us: float
    """Microseconds between card and stack that 99 of 100 frames waited at the most."""


def alternatives(base: ReplayOptions) -> list[Alternative]:
    """Return the base with one switch after the other set the other way."""
    card = base.settings
    cpus = card.queues if base.cpus is None else base.cpus
    found = [
        _feature(base, Feature.GRO, "gro", "gro"),
        _feature(base, Feature.LRO, "lro", "lro"),
        _feature(base, Feature.RXCSUM, "rx-checksum", "rx"),
    ]

    def card_with(name: str, flags: str, **changes: object) -> None:
        found.append(Alternative(name, flags, replace(base, settings=replace(card, **changes))))  # type: ignore[arg-type]

    def host_with(name: str, flags: str, **changes: object) -> None:
        found.append(Alternative(name, flags, replace(base, **changes)))  # type: ignore[arg-type]

    queues = 1 if card.queues > 1 else _MANY_QUEUES
    in_turn = f" --indirection {','.join(map(str, range(queues)))}" if card.indirection else ""
    host_with(
        f"{queues} queue{'s' if queues > 1 else ''}",
        f"--queues {queues} --cpus {cpus}{in_turn}",
        cpus=cpus,
        settings=replace(card, queues=queues, indirection=()),
    )
    adaptive = not card.adaptive_rx
    word = "on" if adaptive else "off"
    card_with(f"adaptive-rx {word}", f"-C adaptive-rx={word}", adaptive_rx=adaptive)
    usecs = 0 if card.rx_usecs and not card.adaptive_rx else _USECS
    # A wait for frames alone never ends where fewer come.
    frames = {} if usecs else {"rx_frames": 0}
    fixed = ",adaptive-rx=off" if card.adaptive_rx else ""
    also = ",rx-frames=0" if frames and card.rx_frames else ""
    card_with(f"rx-usecs {usecs}", f"-C rx-usecs={usecs}{also}{fixed}", rx_usecs=usecs, adaptive_rx=False, **frames)
    deferred = card.gro_flush_timeout > 0 and card.napi_defer_hard_irqs > 0
    timeout, polls = (0, 0) if deferred else (_USECS * 1000, _DEFERRED_POLLS)
    card_with(
        "no deferral" if deferred else "deferral",
        f"--gro-flush-timeout {timeout} --napi-defer-hard-irqs {polls}",
        gro_flush_timeout=timeout,
        napi_defer_hard_irqs=polls,
    )
    card_with("not threaded" if card.threaded else "threaded", _flag("threaded", not card.threaded), threaded=not card.threaded)
    usecs = 0 if base.busy_poll else _USECS
    host_with("busy poll" if usecs else "no busy poll", f"--busy-poll {usecs}", busy_poll=usecs * 1000)
    host_with("no rps" if base.rps else "rps", _flag("rps", not base.rps), rps=not base.rps)
    receive = "napi" if base.netif_rx else "netif_rx"
    host_with(receive, f"--receive {receive}", netif_rx=not base.netif_rx)
    return [other for other in found if not (base.netif_rx and other.name.removeprefix("no ").removeprefix("not ") in _OF_NAPI)]


def _feature(base: ReplayOptions, feature: Feature, name: str, word: str) -> Alternative:
    on = not base.settings.features.active & feature
    value = "on" if on else "off"
    state = request(base.settings.features, {word: on})
    return Alternative(f"{name} {value}", f"-K {word} {value}", replace(base, settings=replace(base.settings, features=state)))


def _flag(name: str, on: bool) -> str:
    return f"--{name}" if on else f"--no-{name}"


def compare(
    base: ReplayOptions,
    done: Replayed,
    run: Callable[[ReplayOptions], Replayed],
    *,
    progress: Callable[[int, str], None] = lambda _run, _name: None,
) -> list[Compared]:
    """Run each alternative of a base and return what each came to, the base first.

    Args:
        base: options of the run that there was.
        done: what came of it.
        run: replays the same frames with other options.
        progress: called before each run with its number from 0 and its name.

    """
    rows = [_row("as given", "", done, done)]
    for number, other in enumerate(alternatives(base)):
        progress(number, other.name)
        rows.append(_row(other.name, other.flags, run(other.options), done))
    return rows


def _row(name: str, flags: str, done: Replayed, base: Replayed) -> Compared:
    seconds = sum(done.seconds_by_stage.values())
    mine, before = (_seconds_a_frame(run) for run in (done, base))
    return Compared(
        name=name,
        flags=flags,
        interrupts=done.interrupts + done.timers,
        polls=done.polls,
        stack_frames=done.stack_frames,
        delivered=done.stack_segments,
        drops=sum(done.drops.values()),
        cpu_seconds=seconds,
        ratio=mine / before if mine is not None and before else None,
        busiest_cpu=done.busiest_cpu,
        lost=done.losses.get("lost", 0),
        wait_p99_us=done.wait_us["p99"],
    )


def _seconds_a_frame(done: Replayed) -> float | None:
    return sum(done.seconds_by_stage.values()) / done.stack_segments if done.stack_segments else None
