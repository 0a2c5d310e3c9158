"""`/proc/interrupts` and `/proc/softirqs`: what each CPU served, one row a source, one column a CPU that is on line.

Both begin with the same row of CPUs, so one reader tells their rows apart. Without this row, as `grep eth /proc/interrupts`
prints it, the columns are taken to be CPU 0 and up. Source: `show_interrupts`, kernel/irq/proc.c; `show_softirqs`,
fs/proc/softirqs.c.
"""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.host import Counter, Interrupt
from pktpath.doctor.parse.section import Section, parser

_SOFTIRQS = frozenset(
    ("HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "BLOCK_IOPOLL", "TASKLET", "SCHED", "HRTIMER", "RCU")
)
_HEAD = re.compile(r"\s*CPU\d{1,5}(?:\s+CPU\d{1,5})*\s*$")
_NAME = re.compile(r"\w{1,16}:$")
_COUNT = re.compile(r"\d{1,19}$")
_TRIGGER = re.compile(r"(?i)(?:\S*-)?(?:edge|level|fasteoi|event|percpu|simple)$")


@parser(
    "/proc/interrupts",
    command=r"(?:cat|head|tail|e?grep)\b[^|;]*\bproc/(?:interrupts|softirqs)",
    shape=r"\s+CPU\d+(?:\s+CPU\d+)*\s*$",
    file=r"proc[/_.](?:interrupts|softirqs)(?!\w)",
)
def interrupts(section: Section) -> Iterator[Fact]:
    """Counters of softirqs, and interrupts with what the table says of them."""
    cpus: tuple[int, ...] = ()
    for line in section.lines:
        text = line.text
        if _HEAD.match(text):
            cpus = tuple(int(word[3:]) for word in text.split())
            continue
        if (row := _row(text)) is None:
            continue
        name, counts, rest = row
        columns = cpus or tuple(range(len(counts)))
        if len(counts) != len(columns):
            # ERR and MIS count once for all CPUs; any other row was cut off.
            if name not in ("ERR", "MIS"):
                section.cannot(line, f"{len(counts)} counts for {len(columns)} CPUs")
        elif name in _SOFTIRQS and not rest:
            for cpu, value in zip(columns, counts, strict=True):
                yield Counter(at=section.place(line), group="softirq", owner=f"cpu{cpu}", name=name, value=value)
        else:
            chip, label = _words(name, rest)
            yield Interrupt(at=section.place(line), irq=name, label=label, chip=chip, counts=counts, cpus=columns)


def _row(text: str) -> tuple[str, tuple[int, ...], list[str]] | None:
    """Return name, counts and the words behind them; None for what is no row. A path that grep put before is left out."""
    words = text.split()
    if words and words[0].startswith("/proc/"):
        _, _, begin = words[0].partition(":")
        words[:1] = [begin] if begin else []
    if len(words) < 2 or not words[0].endswith(":") or not _NAME.match(words[0]):
        return None
    end = next((at for at, word in enumerate(words[1:], 1) if not _COUNT.match(word)), len(words))
    return (words[0][:-1], tuple(map(int, words[1:end])), words[end:]) if end > 1 else None


def _words(irq: str, words: list[str]) -> tuple[str, str]:
    """Return what delivers an interrupt, and what it is for; rows without a number only say the latter."""
    if not irq.isdigit():
        return "", " ".join(words)
    for index, word in enumerate(words[:5]):
        if _TRIGGER.match(word):
            return " ".join(words[: index + 1]), " ".join(words[index + 1 :])
    return (" ".join(words[:-1]), words[-1]) if words else ("", "")
