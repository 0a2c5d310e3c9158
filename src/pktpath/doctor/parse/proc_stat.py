"""`/proc/stat`: what each CPU did since it started, in hundredths of a second (USER_HZ). Source: proc_stat(5)."""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.host import CpuTime
from pktpath.doctor.parse.section import Section, parser

_LINE = re.compile(r"\s*cpu(\d{0,5})((?:\s+\d{1,19}){4,16})\s*$")
_USER_HZ = 100
"""What the kernel shows to programs on all common machines."""


@parser(
    "/proc/stat",
    command=r"(?:cat|head|e?grep)\b[^|;]*\bproc/stat(?!\w)",
    shape=r"cpu\d*(?:\s+\d+){7,10}\s*$",
    file=r"proc[/_.]stat(?!\w)",
)
def stat(section: Section) -> Iterator[Fact]:
    """All CPUs together, then each."""
    for line in section.lines:
        if found := _LINE.match(line.text):
            # Until 2.6.11 there was no steal: columns that are missing are 0.
            spent = [int(word) / _USER_HZ for word in found[2].split()[:8]]
            user, nice, system, idle, iowait, irq, softirq, steal = spent + [0.0] * (8 - len(spent))
            yield CpuTime(
                at=section.place(line), cpu=found[1], per_cent=False, user=user, nice=nice, system=system, idle=idle,
                iowait=iowait, irq=irq, softirq=softirq, steal=steal,
            )  # fmt: skip
