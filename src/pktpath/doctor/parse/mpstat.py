"""`mpstat -P ALL`: what each CPU did, in per cent.

Its columns grew with the versions, so the row of names says which is which. Source: mpstat(1).
"""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.host import CpuTime
from pktpath.doctor.parse.section import Section, parser

_FIELDS = {
    "%usr": "user", "%user": "user", "%nice": "nice", "%sys": "system", "%iowait": "iowait", "%irq": "irq", "%soft": "softirq",
    "%steal": "steal", "%guest": "user", "%gnice": "nice", "%idle": "idle",
}  # fmt: skip
_NUMBER = re.compile(r"\d{1,3}(?:[.,]\d{1,2})?$")


@parser("mpstat", command=r"mpstat\b", shape=r"(?:\d\d:\d\d:\d\d(?: [AP]M)?|\S+:)\s+CPU\s+%u\S+\s+%nice\b")
def mpstat(section: Section) -> Iterator[Fact]:
    """A row a CPU and span; the averages come last."""
    names: list[str] = []
    for line in section.lines:
        words = line.text.split()
        if "CPU" in words and "%idle" in words:
            names = words[words.index("CPU") + 1 :]
            continue
        cpu, numbers = words[-len(names) - 1 : -len(names)], words[-len(names) :]
        if not names or not cpu or not (cpu[0] == "all" or cpu[0].isdigit()) or not all(map(_NUMBER.match, numbers)):
            continue
        spent: dict[str, float] = {}
        for name, number in zip(names, numbers, strict=True):
            if field := _FIELDS.get(name):
                spent[field] = spent.get(field, 0.0) + float(number.replace(",", "."))
        yield CpuTime(at=section.place(line), cpu="" if cpu[0] == "all" else cpu[0], per_cent=True, **{"user": 0.0, **spent})
