"""`perf annotate`, on a terminal or with --stdio: instructions with their share of a function's samples.

Source: perf-annotate(1). A terminal shows ` 39.26 │       mrs    x2, cntvct_el0`, --stdio `   81.27 :   b46:    xchg   %ax,%ax`.
"""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.perf import HotInstruction
from pktpath.doctor.parse.section import Section, parser

MAX_INSTRUCTIONS = 4096
"""Instructions with samples that are kept of one section."""
_FUNCTION = re.compile(r"[\s:|│\d]{0,40}[0-9a-f]{8,16} <([^>]{1,200})>:")
_TITLE = re.compile(r"\s{0,4}(\S{1,200})\s{2,}/\S{1,400}(?:\s.{0,100})?$|\s{0,4}(\S{1,200}) /\S{1,400} \[Percent")
_LINE = re.compile(
    r"\s{0,20}(?:(\d{1,3}[.,]\d{2})(?:\s+\d{1,3}[.,]\d{2}){0,4})?\s{0,20}[:│|]\s{0,40}(?:([0-9a-f]{1,16}):\s)?\s{0,40}"
    r"(?:[→↓↑←]\s*)?(\S.*)"
)
_OPCODE = re.compile(r"[a-z][a-z0-9.]{1,15}(?:,pn|,pt)?(?:\s|$)")


@parser(
    "perf annotate",
    command=r"perf\s+annotate\b",
    shape=r"\s{0,4}Percent\s{0,2}[│|:]",
    file=r"(?:^|/)perf[_-]annotate[\w.-]*$",
)
def annotate(section: Section) -> Iterator[Fact]:
    """Each instruction with samples, and the one before it: samples often lie one behind the instruction that took the time."""
    function, before, kept = "", "", 0
    for line in section.lines:
        text = line.text[:1000].removeprefix("Percent")
        if found := _FUNCTION.match(text):
            function, before = found[1].partition("@")[0], ""
        elif found := _LINE.match(text):
            instruction = found[3].strip()
            if not _OPCODE.match(instruction):
                continue
            percent = float(found[1].replace(",", ".")) if found[1] else 0.0
            if percent > 0:
                kept += 1
                if kept > MAX_INSTRUCTIONS:
                    section.cannot(line, f"more than {MAX_INSTRUCTIONS} instructions: the others were not read")
                    return
                yield HotInstruction(
                    at=section.place(line), percent=percent, function=function, instruction=instruction, before=before
                )
            before = instruction
        elif found := _TITLE.match(text):
            function, before = found[1] or found[2], ""
