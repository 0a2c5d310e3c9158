"""`numactl -H` and `lscpu`: the CPUs of each NUMA node. Source: numactl(8), lscpu(1)."""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.host import Cores
from pktpath.doctor.parse.file_values import cpu_list
from pktpath.doctor.parse.section import Section, parser

_NUMACTL = re.compile(r"node (\d{1,4}) cpus:((?: \d{1,5})*)\s*$")
_LSCPU = re.compile(r"\s*NUMA\W?[^\W\d]+\W?(\d{1,4}) CPU\(s\):\s+([\d,-]{1,4000})\s*$")


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
        if (found := _LSCPU.match(line.text)) and (cpus := cpu_list(found[2])) is not None:
            yield Cores(at=section.place(line), node=int(found[1]), cpus=cpus)
