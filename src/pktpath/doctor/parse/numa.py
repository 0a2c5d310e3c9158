"""`numactl -H` and `lscpu`: the CPUs of each NUMA node. Source: numactl(8), lscpu(1)."""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.host import Cores
from pktpath.doctor.parse.section import Section, parser

_NUMACTL = re.compile(r"node (\d{1,4}) cpus:((?: \d{1,5})*)\s*$")
_LSCPU = re.compile(r"\s*NUMA\W?[^\W\d]+\W?(\d{1,4}) CPU\(s\):\s+([\d,-]{1,4000})\s*$")
_MOST = 8192
"""CPUs that a kernel can be built for (NR_CPUS of x86 with MAXSMP)."""


@parser(
    "numactl -H",
    command=r"numactl\s+(?:-H|--hardware)",
    shape=r"available: \d+ nodes \(|node \d+ cpus:",
    file=r"(?:^|/)numactl_(?:-H|--hardware)$",
)
def numactl(section: Section) -> Iterator[Fact]:
    """A line a node; a node of memory alone has no CPU."""
    for line in section.lines:
        if found := _NUMACTL.match(line.text):
            yield Cores(at=section.place(line), node=int(found[1]), cpus=tuple(map(int, found[2].split())))


@parser("lscpu", command=r"lscpu\b", shape=r"Architecture:\s+\w+\s*$")
def lscpu(section: Section) -> Iterator[Fact]:
    """`NUMA node0 CPU(s):`, in most languages."""
    for line in section.lines:
        if found := _LSCPU.match(line.text):
            yield Cores(at=section.place(line), node=int(found[1]), cpus=cpu_list(found[2]))


def cpu_list(text: str) -> tuple[int, ...]:
    """Return the CPUs of a list such as `0-3,8`; what is no such list, or names more CPUs than kernels have, is left out."""
    cpus: set[int] = set()
    for piece in text.strip().split(","):
        if (found := re.fullmatch(r"\s*(\d{1,5})(?:-(\d{1,5})(?::\d{1,4}(?:/\d{1,4})?)?)?\s*", piece)) is None:
            continue
        first = int(found[1])
        last = int(found[2]) if found[2] else first
        if last < _MOST:
            cpus.update(range(first, last + 1))
    return tuple(sorted(cpus))
