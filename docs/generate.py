"""Write docs/reasons.md from the enum that kernels, counters and `--why` use, docs/doctor-findings.md from the doctor's rules.

A test says that they are current.
"""

from itertools import pairwise
from pathlib import Path

from pktpath.doctor.explain import topic_named, topics
from pktpath.doctor.finding import Rule
from pktpath.doctor.rules import all_rules
from pktpath.offload.reason import Reason

GROUPS = {
    Reason.NOT_IP: (
        "Decided by parsing alone",
        "The frame is delivered at once and unchanged. What is held of its flow stays held: such a frame can overtake it.",
    ),
    Reason.BAD_CHECKSUM: (
        "Decided by the transport checksum",
        "A sum that is wrong or not there proves nothing about the bytes, and a frame that proves nothing is not merged.",
    ),
    Reason.EMPTY: (
        "Frames that must be delivered at once",
        "What is held of the flow is completed and delivered before the frame.",
    ),
    Reason.CWR: (
        "Differences from the held frame",
        "The held frame is completed, and this one starts a new one: merging would lose what differs.",
    ),
    Reason.SHORT: ("Ends of a merged frame", "The merged frame is complete for a reason that is no difference between frames."),
    Reason.NO_MEMORY: ("Beside the frame itself", "Nothing in the frame is against merging it."),
    Reason.BAD_FRAGMENT: (
        "IP fragments that were not put together",
        "Only where reassembly is asked for (`--reassemble`): the fragments pass unchanged, each in its place.",
    ),
    Reason.NOT_FOR_LRO: (
        "Rules of LRO that GRO does not have",
        "Only with `--engine lro`, which has many of the words above too. A refused frame ends what is held and starts nothing.",
    ),
}
HEAD = """# Reasons

<!-- Written by docs/generate.py from pktpath/offload/reason.py: change that, then run it. -->

Why a frame was not merged, or why a merged frame ended. The same word stands in `pktpath coalesce --why`,
in the counters of `--json`, and, in capitals, in `pktpath.Reason`.
"""
FINDINGS = """# Findings of the doctor

<!-- Written by docs/generate.py from the docstrings in pktpath/doctor/rules: change those, then run it. -->

What [`pktpath doctor`](doctor.md) can say. `pktpath doctor explain ID` tells when each finding speaks and when it stays silent,
with its thresholds and where they come from; `pktpath doctor explain TOPIC` explains the thing itself.
"""


def reasons() -> str:
    """Return the page of reasons."""
    lines = [HEAD]
    starts = [*GROUPS, len(Reason)]
    lines.append(f"`{Reason.NONE.word}` (0): {Reason.NONE.sentence}.\n")
    for first, end in pairwise(starts):
        title, text = GROUPS[Reason(first)]
        lines.append(f"## {title}\n\n{text}\n\n| number | word | rule |\n| ---: | --- | --- |")
        lines.extend(f"| {reason:d} | `{reason.word}` | {reason.sentence} |" for reason in Reason if first <= reason < end)
        lines.append("")
    return "\n".join(lines)


def findings() -> str:
    """Return the page of the doctor's findings, by topic."""
    found: dict[str, list[Rule]] = {}
    for rule in all_rules():
        topic = topic_named(rule.topic)
        found.setdefault(topic.name if topic else rule.topic, []).append(rule)
    lines = [FINDINGS]
    for name, line in topics():
        if rules := found.get(name):
            lines.append(
                f"## {name}\n\n{line[0].upper()}{line[1:]}.\n\n| finding | what it says | looks at |\n| --- | --- | --- |"
            )
            lines.extend(f"| `{rule.id}` | {cell(rule.text.partition(chr(10))[0])} | `{cell(rule.ask)}` |" for rule in rules)
            lines.append("")
    lines.append(f"Topics: {', '.join(f'`{name}`' for name, _ in topics())}.")
    return "\n".join(lines) + "\n"


def cell(text: str) -> str:
    """Return a text as it stands in a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    Path(__file__).with_name("reasons.md").write_text(reasons())
    Path(__file__).with_name("doctor-findings.md").write_text(findings())
