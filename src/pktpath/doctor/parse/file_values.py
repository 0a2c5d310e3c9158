"""Small files of the kernel with their paths before them, as `grep -H . FILE…` and `grep -r . FOLDER` print them.

Which of them are understood: queues of devices under /sys/class/net, CPUs of interrupts under /proc/irq, NUMA nodes, sysctls
by their path, and call stacks inside the kernel. Sources: Documentation/networking/scaling.rst, proc_pid_stack(5).
"""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.host import Cores, Setting
from pktpath.doctor.facts.process import Stack
from pktpath.doctor.parse.section import Line, Section, parser

_FOLDERS = r"/(?:sys/class/net|sys/devices/system/node|proc/irq|proc/sys|proc/\d{1,10}/task)/"
_ROW = re.compile(r"(/(?:sys|proc)/[^:\s]{1,300}):\s*(\S.{0,4000})?$")
_NODE = re.compile(r"/sys/devices/system/node/node(\d{1,5})/cpulist$")
_IRQ = re.compile(r"/proc/irq/(\d{1,6})/(smp_affinity_list|effective_affinity_list)$")
_STACK = re.compile(r"/proc/(\d{1,10})/task/(\d{1,10})/stack$")
_FRAME = re.compile(r"\[<[0-9a-fx]{1,18}>\] ([^\s+]{1,300})")
_MOST_CPUS = 65536


@parser("files of the kernel", command=rf"(?:e?grep|head|tail)\b.*{_FOLDERS}", shape=rf"{_FOLDERS}[^:\s]{{1,300}}:")
def file_values(section: Section) -> Iterator[Fact]:
    """A line a file; several lines of one file for a stack."""
    stack: list[str] = []
    first: Line | None = None
    whose = (0, 0)
    for line in section.lines:
        found = _ROW.match(line.text)
        task = _STACK.match(found[1]) if found else None
        if task is None or (int(task[1]), int(task[2])) != whose:
            if first is not None and stack:
                yield Stack(at=section.place(first), pid=whose[0], tid=whose[1], name="", frames=tuple(stack))
            first, stack = None, []
        if found is None:
            continue
        value = (found[2] or "").rstrip()
        if task is not None:
            whose = int(task[1]), int(task[2])
            if (frame := _FRAME.match(value)) and len(stack) < 128:
                first = first or line
                stack.append(frame[1])
        else:
            yield from _value(section, line, found[1], value)
    if first is not None and stack:
        yield Stack(at=section.place(first), pid=whose[0], tid=whose[1], name="", frames=tuple(stack))


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
