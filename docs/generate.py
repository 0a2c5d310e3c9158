"""Write docs/reasons.md from the enum that kernels, counters and `--why` use; a test says it is current."""

from itertools import pairwise
from pathlib import Path

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


if __name__ == "__main__":
    Path(__file__).with_name("reasons.md").write_text(reasons())
