"""A queueing discipline drops packets that this host sends.

Some are made to: fq_codel, cake, red drop or mark to keep queues short, tbf, htb and policers to keep a rate. pfifo_fast, fq
and mq with their plain children drop only when their queue is full: more is sent than the device takes.

Speaks of what was dropped between two looks, of the disciplines without children: a warning from 1 in 1000 packets where the
queue was full, else a note. Of one look only from 1 in 100, as a note.
Silent about single drops: TCP finds the rate of a path by losing packets.
Source: tc(8), tc-fq_codel(8), tc-fq(8), net/sched/.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case, Change
from pktpath.doctor.facts.device import Qdisc
from pktpath.doctor.facts.host import Counter
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.rules._devices import places

_SHAPERS = {"tbf", "htb", "hfsc", "cbq", "netem", "cake"}
_ON_PURPOSE = _SHAPERS | {"fq_codel", "codel", "red", "pie", "fq_pie", "sfb", "choke", "gred", "ingress", "clsact"}
MANY, FEW_TWICE, FEW_ONCE = 1e-3, 1e-4, 1e-2


@rule(
    Qdisc,
    Counter,
    ask="tc -s qdisc, twice some seconds apart",
    well="No queueing discipline drops more than a few packets.",
    topic="qdisc",
)
def qdisc_drops(case: Case) -> Iterator[Finding]:
    """One finding a discipline."""
    counted = {
        name: {(change.counter.at.scope, change.counter.owner): change for change in case.changes("qdisc", name)}
        for name in ("dropped", "sent_packets", "drop_overlimit", "flows_plimit")
    }
    all_of_them = case.latest(Qdisc)
    for qdisc in all_of_them:
        owner = (qdisc.at.scope, qdisc.owner)
        dropped, sent = counted["dropped"].get(owner), counted["sent_packets"].get(owner)
        if dropped is None or not dropped.rise or _has_children(qdisc, all_of_them):
            continue
        share = dropped.rise / (dropped.rise + (sent.rise if sent else 0))
        if share < (FEW_TWICE if dropped.twice else FEW_ONCE):
            continue
        full = counted["drop_overlimit"].get(owner) or counted["flows_plimit"].get(owner)
        shaped = [other for other in all_of_them if _beside(qdisc, other) and other.kind in _SHAPERS]
        limit = shaped[0] if shaped else qdisc
        purpose = bool(shaped) or (qdisc.kind in _ON_PURPOSE and not (full and full.rise))
        yield Finding(
            severity=Severity.WARNING if dropped.twice and share >= MANY and not purpose else Severity.NOTE,
            confidence=Confidence.CERTAIN if dropped.twice else Confidence.POSSIBLE,
            summary=f"{qdisc.kind} {qdisc.handle} of {qdisc.dev} dropped {dropped}, {share:.2%} of what it was given to send.",
            evidence=places(dropped.places, sent.places if sent else None, qdisc.at),
            why=_why(limit, purpose, full),
            about=qdisc.dev,
            proof=f"tc -s qdisc show dev {qdisc.dev} again under load: does backlog stay high while dropped rises?",
        )


def _has_children(qdisc: Qdisc, others: list[Qdisc]) -> bool:
    """Whether others hang below: then its counters are their sum. mq's handle is 0:, and its children's parents :1, :2."""
    return any(other.parent.startswith(qdisc.handle.removeprefix("0")) for other in others if _beside(qdisc, other))


def _beside(qdisc: Qdisc, other: Qdisc) -> bool:
    return (other.at.scope, other.dev) == (qdisc.at.scope, qdisc.dev) and other.owner != qdisc.owner


def _why(qdisc: Qdisc, purpose: bool, full: Change | None) -> str:
    if purpose:
        return f"{qdisc.kind} drops on purpose, to keep a queue short or a rate: the line or the rate that was set is the limit."
    if full and full.rise:
        return f"Its queue was full ({full.counter.name} {full}): more is sent than the device takes, or in long bursts."
    return "Its queue was full: more is sent than the device takes, or the device did not take packets for a while."
