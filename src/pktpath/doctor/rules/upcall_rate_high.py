"""Many packets a second have no megaflow and go up to ovs-vswitchd.

An upcall costs some tens of microseconds of a handler thread, a hit less than one of the datapath. A handler takes some ten
thousand a second at best, and what is more than that is lost. Port scans, ARP and broadcast storms, short connections and
megaflows that match too much of the packet make many.

Speaks from 5,000 missed packets a second between two looks, or when 1,000 megaflows a second were added in the last five seconds
(coverage/show, dpif_flow_put). Silent with one look at totals. Source: ovs-dpctl(8); handlers in ofproto-dpif-upcall.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.ovs import Datapath
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.rules._ovs import happening

MANY = 5_000.0
ADDED = 1_000.0
_WHY = (
    "Each costs some tens of microseconds in ovs-vswitchd. Broadcast or ARP storms, scans, very short connections, or megaflows "
    "that match more of the packet than they need to are the usual sources."
)
_PROOF = "ovs-appctl dpctl/dump-flows -m shows by the newest megaflows which traffic it is, and which fields they match"


@rule(
    Datapath,
    ask="ovs-appctl dpctl/show and coverage/show, twice",
    well="Few packets go up to ovs-vswitchd.",
    topic="megaflow",
)
def upcall_rate_high(case: Case) -> Iterator[Finding]:
    """One finding a datapath, else one for the daemon."""
    said = False
    for pair in case.pairs(Datapath):
        if not pair.twice or not pair.seconds:
            continue
        last, before = pair.last, pair.first
        # A kernel datapath counts what it lost among what missed, the userspace datapath beside it.
        missed = last.missed - before.missed + (last.lost - before.lost if last.userspace else 0)
        hit = last.hit - before.hit
        if missed / pair.seconds >= MANY and hit >= 0:
            said = True
            yield Finding(
                severity=Severity.WARNING,
                confidence=Confidence.CERTAIN,
                summary=f"{missed / pair.seconds:,.0f} packets a second of {last.name} have no megaflow and take the slow path, "
                f"{100 * missed / (missed + hit):.1f} % of all.",
                evidence=(last.at, before.at),
                why=_WHY,
                about=last.name,
            )
    added = [one for one in happening(case, "dpif_flow_put") if one.now and one.rate >= ADDED]
    if added and not said:
        yield Finding(
            severity=Severity.WARNING,
            confidence=Confidence.LIKELY,
            summary=f"ovs-vswitchd adds {added[0].rate:,.0f} megaflows a second {added[0].span}.",
            evidence=(added[0].event.at,),
            why=_WHY,
            about="ovs-vswitchd",
            proof=_PROOF,
        )
