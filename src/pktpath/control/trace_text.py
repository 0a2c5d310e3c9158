"""The way of one packet through the tables as `ofproto/trace` of Open vSwitch 3.1 writes it."""

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import NamedTuple


class Kind(Enum):
    """What a line of a trace is."""

    TABLE = "table"
    """A lookup; its nodes are what the rule does."""
    ACTION = "action"
    """Also a bucket of a group, with what it does as its nodes."""
    DETAIL = "detail"
    """What came of the action before it."""
    WARNING = "warning"
    ERROR = "error"


class TraceNode(NamedTuple):
    """A line, and those below it."""

    kind: Kind
    text: str
    """Of a table: `in_port=1, priority 1`, or `No match.`."""
    table: int = 0
    nodes: "Sequence[TraceNode]" = ()
    """Of a table: its actions in order, and behind a `resubmit` the table that it led to."""


class Trace(NamedTuple):
    """What `ofproto/trace` tells."""

    flow: str
    """The packet, in the syntax of flows."""
    bridge: str
    nodes: Sequence[TraceNode]
    final: str | None
    """The packet at the end, None if it is unchanged."""
    megaflow: str
    actions: str
    """Of the datapath."""
    slow: Sequence[str] = ()
    """Why each packet of it goes to the slow path."""
    failure: str = ""
    """Why the packet is dropped after all: `Translation failed (Recursion too deep), packet is dropped.`"""


def trace_text(trace: Trace) -> str:
    """Return the text of `ofproto/trace`."""
    title = f'bridge("{trace.bridge}")'
    rows = [f"Flow: {trace.flow}", "", title, "-" * len(title), *_rows(trace.nodes, 0), ""]
    rows += [f"Final flow: {trace.final or 'unchanged'}", f"Megaflow: {trace.megaflow}", f"Datapath actions: {trace.actions}"]
    if trace.failure:
        rows.append(trace.failure)
    if trace.slow:
        rows += ["This flow is handled by the userspace slow path because it:", *(f"  - {reason}" for reason in trace.slow)]
    return "".join(f"{row}\n" for row in rows)


def _rows(nodes: Sequence[TraceNode], level: int) -> Iterator[str]:
    for number, node in enumerate(nodes):
        # A table with which its caller ends goes on in the same column, one after which something follows is moved in.
        inner = node.kind is not Kind.TABLE or number + 1 < len(nodes)
        indent = " " * (4 * (level + inner))
        match node.kind:
            case Kind.TABLE:
                yield f"{indent}{node.table:2d}. {node.text}"
            case Kind.ACTION:
                yield f"{indent}{node.text}"
            case Kind.DETAIL:
                yield f"{indent} -> {node.text}"
            case Kind.WARNING:
                yield f"{indent} >> {node.text}"
            case Kind.ERROR:
                yield f"{indent} >>>> {node.text} <<<<"
        yield from _rows(node.nodes, level + 2 * inner)
