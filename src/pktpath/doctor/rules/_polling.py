"""Profiles of a thread that polls, and instructions that read the counter."""

import re
from dataclasses import dataclass, field

from pktpath.doctor.case import Case
from pktpath.doctor.facts.base import Place
from pktpath.doctor.facts.perf import HotInstruction, HotSymbol
from pktpath.doctor.rules._profile import POLLING, TIMER, WORK, Share, profiles, share
from pktpath.doctor.rules._threads import POLL_NAME

_READS = re.compile(r"mrs\s+\w+,\s*(?:cntv?ct|cntpct|pmccntr)_el0|rdtscp?\b|isb\b")
_WAITS = re.compile(r"(?:b\.(?:eq|ne|ls|hi|lt|gt|le|ge|cc|cs)|cbn?z|tbn?z|j(?:n?e|n?z|a|b|ae|be|g|l|ge|le)|c?cmp)\b")


@dataclass(slots=True)
class Loop:
    """A profile of a thread that polls and finds nothing."""

    thread: str
    timer: Share
    polling: Share
    object: str


@dataclass(slots=True)
class Reads:
    """Instructions that read the counter, and branches that wait."""

    percent: float = 0.0
    waits: float = 0.0
    symbols: list[str] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)


def idle_loops(case: Case) -> list[Loop]:
    """Return the profiles in which a poll-mode thread does nothing but read the clock and poll."""
    found = []
    for symbols in profiles(case).values():
        for command in dict.fromkeys(symbol.command for symbol in symbols):
            own = [symbol for symbol in symbols if symbol.command == command]
            if loop := _loop(command, own):
                found.append(loop)
    return found


def _loop(command: str, symbols: list[HotSymbol]) -> Loop | None:
    total = sum(symbol.percent for symbol in symbols)
    timer, polling, work = (share(symbols, kind) for kind in (TIMER, POLLING, WORK))
    named = POLL_NAME.match(command) is not None
    if total < 20 or work.percent > 0.1 * total or timer.percent < 0.02 * total or not (named or polling.percent >= 20):
        return None
    blind = [symbol for symbol in symbols if symbol.symbol.startswith("0x")]
    unknown = sum(symbol.percent for symbol in blind)
    if timer.percent + polling.percent < 0.6 * total and not (timer.percent >= 0.2 * total and unknown >= 0.2 * total):
        return None
    return Loop(command, timer, polling, blind[0].object if blind else symbols[0].object)


def counter_reads(case: Case) -> Reads:
    """Return what part of an annotated function reads the counter, one instruction late included."""
    reads = Reads()
    for instruction in case.all(HotInstruction):
        now, late = _READS.match(instruction.instruction), _READS.match(instruction.before)
        if now or late:
            reads.percent += instruction.percent
            reads.symbols.append(" ".join((instruction.instruction if now else instruction.before).split()))
            reads.places.append(instruction.at)
        elif _WAITS.match(instruction.instruction):
            reads.waits += instruction.percent
            if instruction.percent >= 10:
                reads.places.append(instruction.at)
    return reads
