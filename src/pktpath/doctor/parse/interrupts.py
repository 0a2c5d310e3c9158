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
_ROW = re.compile(r"\s*(?:\S{1,200}:)?\s*(\w{1,16}):((?:\s+\d{1,19})+)(?:\s+(\S.*))?$")
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
        if not (found := _ROW.match(text)):
            continue
        # ERR and MIS count once for all CPUs; a row that was cut off says less than it should.
        counts = tuple(map(int, found[2].split()))
        columns = cpus or tuple(range(len(counts)))
        if len(counts) != len(columns):
            # A number may begin what follows the counts: `0  IO-APIC` never does, `27 Level` of a GIC does behind its name.
            if len(columns) > 1:
                section.cannot(line, f"{len(counts)} counts for {len(columns)} CPUs") if found[1] not in ("ERR", "MIS") else None
            continue
        name = found[1]
        if name in _SOFTIRQS and found[3] is None:
            for cpu, value in zip(columns, counts, strict=True):
                yield Counter(at=section.place(line), group="softirq", owner=f"cpu{cpu}", name=name, value=value)
        else:
            chip, label = _words(name, found[3] or "")
            yield Interrupt(at=section.place(line), irq=name, label=label, chip=chip, counts=counts, cpus=columns)


def _words(irq: str, text: str) -> tuple[str, str]:
    """Return what delivers an interrupt, and what it is for; rows without a number only say the latter."""
    if not irq.isdigit():
        return "", text.strip()
    words = text.split()
    for index, word in enumerate(words[:5]):
        if _TRIGGER.match(word):
            return " ".join(words[: index + 1]), " ".join(words[index + 1 :])
    return (" ".join(words[:-1]), words[-1]) if words else ("", "")
