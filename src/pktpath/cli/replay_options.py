"""The words of `pktpath replay` as values: a card, a host, costs and a speed; nothing heavy is imported."""

import re
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

from pktpath.errors import BadInput
from pktpath.features import Feature

if TYPE_CHECKING:
    from pktpath.nic.host_types import Costs
    from pktpath.nic.settings import NicSettings
    from pktpath.path.replay_types import ReplayOptions

_MOST_CPUS = 256
_LEAST_RING = 64
_MOST_USECS = (1 << 32) - 1
_MOST_COST = 1_000_000_000
_PICOSECONDS = ("byte", "sum")
"""Costs that may be fractions of a nanosecond."""
_MOST_DIGITS = 1_000_000
_RANGES = {
    "--cpus": (1, _MOST_CPUS),
    "--gro-flush-timeout": (0, 1_000_000_000_000),
    "--napi-defer-hard-irqs": (0, (1 << 31) - 1),
    "--busy-poll": (0, 1_000_000),
    "--budget": (1, 1_000_000),
    "--budget-usecs": (0, 10_000_000),
    "--max-backlog": (1, 100_000),
    "--weight": (1, 1024),
}
HZ = (100, 250, 300, 1000)


def options_of(wishes: dict[str, Any], costs: "Costs") -> "ReplayOptions":
    """Return what a command line asks for.

    Args:
        wishes: click's parameters; None where an option was not given.
        costs: what work costs.

    Raises:
        BadInput: naming the value and what is allowed.

    """
    from pktpath.nic.host_types import Limits
    from pktpath.path.replay_types import ReplayOptions

    for option, (least, most) in _RANGES.items():
        _in_range(option, wishes[option.removeprefix("--").replace("-", "_")], least, most)
    default = Limits()
    return ReplayOptions(
        settings=_settings(wishes),
        cpus=wishes["cpus"],
        costs=costs,
        limits=Limits(
            budget=_given(wishes["budget"], default.budget),
            budget_usecs=_given(wishes["budget_usecs"], default.budget_usecs),
            max_backlog=_given(wishes["max_backlog"], default.max_backlog),
            hz=_hz(wishes["hz"], default.hz),
        ),
        weight=_given(wishes["weight"], ReplayOptions().weight),
        netif_rx=wishes["receive"] == "netif_rx",
        busy_poll=_given(wishes["busy_poll"], 0) * 1000,
        rps=wishes["rps"],
        rfs=wishes["rfs"],
        speed=_speed(wishes["speed"]),
    )


def remarks(options: "ReplayOptions") -> list[str]:
    """Return what has no effect, or another than one may think, in the options themselves."""
    card = options.settings
    found = []
    if card.napi_defer_hard_irqs and not card.gro_flush_timeout:
        found.append("--napi-defer-hard-irqs has no effect without --gro-flush-timeout: no timer would poll")
    if card.rx_frames > 1 and not card.rx_usecs and not card.adaptive_rx:
        found.append(f"rx-frames={card.rx_frames} without rx-usecs: the last frames before a pause are told by no interrupt")
    if card.adaptive_rx and (card.rx_usecs or card.rx_frames):
        found.append("adaptive-rx=on chooses rx-usecs and rx-frames itself: those given have no effect")
    if options.netif_rx and (card.threaded or options.busy_poll or card.gro_flush_timeout):
        found.append("--receive netif_rx polls no queue: --threaded, --busy-poll and --gro-flush-timeout have no effect")
    elif options.netif_rx and card.features.active & Feature.LRO:
        found.append("--receive netif_rx is the world before LRO and GRO: neither runs")
    if (options.rps or options.rfs) and (options.cpus or card.queues) == 1:
        found.append("one CPU: --rps and --rfs have nobody to steer to")
    return found


# The card


def _settings(wishes: dict[str, Any]) -> "NicSettings":
    from pktpath.nic.settings import MOST_RING, NicSettings
    from pktpath.offload.rss_key import check_queues, check_table, parse_fields, parse_key, parse_table

    card: NicSettings = NicSettings() if wishes["nic"] is None else import_module("pktpath.nic.store").load_nic(wishes["nic"])
    changes: dict[str, Any] = _coalesce(wishes["coalesce"])
    queues = card.queues
    if wishes["queues"] is not None:
        queues = changes["queues"] = wishes["queues"]
        check_queues(queues)
        if wishes["indirection"] is None and card.indirection:
            # As the kernel: a table that was set stays, and keeps queues that it names from going.
            check_table(card.indirection, queues)
    if wishes["indirection"] is not None:
        changes["indirection"] = parse_table(wishes["indirection"], queues)
    if wishes["key"] is not None:
        changes["key"] = parse_key(wishes["key"])
    if wishes["fields"] is not None:
        changes["hash_fields"] = {**card.hash_fields, **parse_fields(wishes["fields"])}
    if wishes["ring"] is not None:
        ring = changes["rx_ring"] = wishes["ring"]
        if not _LEAST_RING <= ring <= MOST_RING or ring & (ring - 1):
            _bad("--ring", ring, f"a power of two from {_LEAST_RING} to {MOST_RING}")
    for name, field in (("inner", "hash_inner"), ("threaded", "threaded"), ("gro_flush_timeout", "gro_flush_timeout"),
                        ("napi_defer_hard_irqs", "napi_defer_hard_irqs")):  # fmt: skip
        if wishes[name] is not None:
            changes[field] = wishes[name]
    return _switched(replace(card, **changes), wishes["features"])


def _switched(card: "NicSettings", pairs: Sequence[tuple[str, str]]) -> "NicSettings":
    """Switch features as `ethtool -K` does, and refuse what would not be as it was asked for."""
    from pktpath.device_features import (
        change_between,
        check_changeable,
        failures,
        of_card,
        read_switches,
        requested_bits,
    )
    from pktpath.features import request

    # Later words win over earlier ones, as several calls of ethtool would.
    asked = read_switches([word for pair in dict(pairs).items() for word in pair])
    before = of_card(card.features)
    requested = requested_bits(before, asked)
    check_changeable("-K", before, requested)
    state = request(card.features, requested)
    after = of_card(state)
    if failed := failures(after, asked, change_between(before, after, requested)):
        alike: dict[str, list[str]] = {}
        for name, why in failed.items():
            alike.setdefault(f"{'on' if requested.get(name) else 'off'}: {why}", []).append(name)
        message = "-K " + "; ".join(f"{', '.join(names)} {why}" for why, names in alike.items())
        raise BadInput(message)
    return replace(card, features=state)


def _coalesce(texts: Sequence[str]) -> dict[str, Any]:
    """Return the settings that words such as `rx-usecs=50,adaptive-rx=on` stand for."""
    found: dict[str, Any] = {}
    for word in (part.strip() for text in texts for part in text.split(",")):
        name, equals, value = word.partition("=")
        if name not in ("rx-usecs", "rx-frames", "adaptive-rx") or not equals:
            _bad("-C", word, "rx-usecs=N, rx-frames=N and adaptive-rx=on|off, with commas between")
        if name == "adaptive-rx":
            if value not in ("on", "off"):
                _bad("-C", word, "adaptive-rx is on or off")
            found["adaptive_rx"] = value == "on"
        elif re.fullmatch(r"[0-9]{1,10}", value) and int(value) <= _MOST_USECS:
            found[name.replace("-", "_")] = int(value)
        else:
            _bad("-C", word, f"{name} is a whole number from 0 to {_MOST_USECS}")
    return found


# The host


def parse_costs(texts: Sequence[str], base: "Costs | None" = None) -> "Costs":
    """Return costs (those of `Costs` without a base) with what texts such as `irq=2000,byte=0.05` say, in nanoseconds.

    Raises:
        BadInput: a name or a number that is none.

    """
    from pktpath.nic.host_types import Costs

    costs = Costs() if base is None else base
    changes: dict[str, int] = {}
    for word in (part.strip() for text in texts for part in text.split(",")):
        name, equals, value = word.partition("=")
        if name not in Costs._fields or not equals:
            _bad("--cost", word, f"NAME=NS with commas between, NAME one of {', '.join(Costs._fields)}")
        parts = 1000 if name in _PICOSECONDS else 1
        number = Fraction(value) * parts if re.fullmatch(r"[0-9]{1,10}(\.[0-9]{1,9})?", value) else Fraction(-1)
        if not 0 <= number <= _MOST_COST * parts or number.denominator != 1:
            what = "nanoseconds, up to three digits behind the point," if parts > 1 else "whole nanoseconds"
            _bad("--cost", word, f"{name} is {what} from 0 to {_MOST_COST}")
        changes[name] = int(number)
    return costs._replace(**changes)


def cost_words(costs: "Costs") -> str:
    """Return costs as `--cost` takes them."""
    return ",".join(
        f"{name}={value / 1000:g}" if name in _PICOSECONDS else f"{name}={value}" for name, value in costs._asdict().items()
    )


def _speed(text: str | None) -> Fraction:
    if text is None:
        return Fraction(1)
    form = re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?|[0-9]{1,12}/[0-9]{1,12}", text)
    try:
        speed = Fraction(text) if form else Fraction(0)
    except ZeroDivisionError:
        speed = Fraction(0)
    if not Fraction(1, 1000) <= speed <= _MOST_DIGITS or max(speed.numerator, speed.denominator) > _MOST_DIGITS:
        _bad("--speed", text, "a number or fraction such as 2, 0.5 or 4/3, from 0.001 to 1000000, of six digits")
    return speed


def _hz(text: str | None, default: int) -> int:
    if text is None:
        return default
    if text not in map(str, HZ):
        _bad("--hz", text, f"one of {', '.join(map(str, HZ))}, as CONFIG_HZ")
    return int(text)


def _in_range(option: str, value: int | None, least: int, most: int) -> None:
    if value is not None and not least <= value <= most:
        _bad(option, value, f"a whole number from {least} to {most}")


def _given(value: Any, default: Any) -> Any:
    return default if value is None else value


def _bad(option: str, value: object, allowed: str) -> NoReturn:
    message = f"{option} {value}: {allowed}"
    raise BadInput(message)
