"""`/proc/net/softnet_stat`: what each CPU's receive softirq did, in hexadecimal columns whose number grew with the kernels.

Source: `softnet_seq_show`, net/core/net-procfs.c. 9 columns until 2.6.34, 10 with RPS, 11 with flow limits, 13 with the
backlog's length and the CPU's number (5.14), 15 with both queues of the backlog (6.5).
"""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.host import Counter
from pktpath.doctor.parse.section import Section, parser

_NAMES = (
    "processed", "dropped", "time_squeeze", "", "", "", "", "", "cpu_collision", "received_rps", "flow_limit_count",
    "backlog_len", "cpu_id", "input_qlen", "process_qlen",
)  # fmt: skip
"""Columns without a name were of the fast route, which is gone: they are 0."""
_CPU = _NAMES.index("cpu_id")
_ROW = re.compile(r"\s*[0-9a-f]{8}(?: [0-9a-f]{8}){8,63}\s*$")


@parser(
    "/proc/net/softnet_stat",
    command=r"(?:cat|head|tail|column)\b[^|;]*\bproc/net/softnet_stat",
    shape=r"[0-9a-f]{8}(?: [0-9a-f]{8}){8,63}\s*$",
    file=r"proc[/_.]net[/_.]softnet_stat(?!\w)",
)
def softnet_stat(section: Section) -> Iterator[Fact]:
    """A row a CPU; rows of CPUs that are off line are missing, which only the 13th column shows."""
    row = 0
    for line in section.lines:
        if not _ROW.match(line.text):
            continue
        values = [int(word, 16) for word in line.text.split()]
        cpu = values[_CPU] if len(values) > _CPU else row
        row += 1
        for column, value in enumerate(values):
            name = _NAMES[column] if column < len(_NAMES) else f"column{column + 1}"
            if name:
                yield Counter(at=section.place(line), group="softnet", owner=f"cpu{cpu}", name=name, value=value)
