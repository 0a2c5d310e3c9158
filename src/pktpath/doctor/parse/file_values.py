"""Small files of the kernel with their paths before them, as `grep -H . FILE…` and `grep -r . FOLDER` print them.

Which of them are understood: queues of devices under /sys/class/net, CPUs of interrupts under /proc/irq, NUMA nodes, sysctls
by their path. Source: Documentation/networking/scaling.rst.
"""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.host import Cores, Setting
from pktpath.doctor.parse.section import Line, Section, parser

_FOLDERS = r"/(?:sys/class/net|sys/devices/system/node|proc/irq|proc/sys)/"
_ROW = re.compile(r"(/(?:sys|proc)/[^:\s]{1,300}):\s*(\S.{0,4000})?$")
_NODE = re.compile(r"/sys/devices/system/node/node(\d{1,5})/cpulist$")
_IRQ = re.compile(r"/proc/irq/(\d{1,6})/(smp_affinity_list|effective_affinity_list)$")
_MOST_CPUS = 65536


@parser("files of the kernel", command=rf"(?:e?grep|head|tail)\b.*{_FOLDERS}", shape=rf"{_FOLDERS}[^:\s]{{1,300}}:")
def file_values(section: Section) -> Iterator[Fact]:
    """A line a file."""
    for line in section.lines:
        if found := _ROW.match(line.text):
            yield from _value(section, line, found[1], (found[2] or "").rstrip())


def _value(section: Section, line: Line, path: str, value: str) -> Iterator[Fact]:
    if irq := _IRQ.match(path):
        name = irq[1] if irq[2] == "smp_affinity_list" else f"{irq[1]} effective"
        yield Setting(at=section.place(line), where="irq", name=name, value=value)
    elif node := _NODE.match(path):
        if (cpus := cpu_list(value)) is not None:
            yield Cores(at=section.place(line), node=int(node[1]), cpus=cpus)
    elif path.startswith("/sys/class/net/"):
        yield Setting(at=section.place(line), where="sysfs", name=path.removeprefix("/sys/class/net/"), value=value)
    elif path.startswith("/proc/sys/"):
        name = path.removeprefix("/proc/sys/").translate(str.maketrans("/.", "./"))
        yield Setting(at=section.place(line), where="sysctl", name=name, value=" ".join(value.split()))


def cpu_list(text: str) -> tuple[int, ...] | None:
    """Return the CPUs of a list such as `0-3,8`; None for what is none."""
    cpus: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", part.strip())
        if found is None:
            return None
        cpus += range(int(found[1]), int(found[2] or found[1]) + 1)
        if len(cpus) > _MOST_CPUS:
            return None
    return tuple(cpus)
