"""ovs-vswitchd counts packets that it drops, for a reason that is no rule of the flow tables.

coverage/show counts, each with the mean rates of the last five seconds, minute and hour. These events are packets that were lost
for want of something, or because they or the configuration are wrong; what flow tables and meters drop on purpose is not among
them.

Speaks of events that happened in the last minute: a problem when it is more than one a second in the last five seconds, else a
warning. Silent about older totals. Source: names and places of COVERAGE_INC in Open vSwitch.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.ovs import CoverageEvent
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.rules._ovs import happening

EVENTS = {
    "datapath_drop_upcall_error": "the upcall failed, and the packet had no megaflow",
    "datapath_drop_lock_error": "the flow table was being changed, and the packet could not wait for its upcall",
    "datapath_drop_rx_invalid_packet": "the frame was shorter than its headers",
    "datapath_drop_userspace_action_error": "it was to go up to ovs-vswitchd, which could not take it",
    "datapath_drop_tunnel_push_error": "the tunnel header could not be put on",
    "datapath_drop_tunnel_pop_error": "the tunnel header could not be taken off",
    "datapath_drop_recirc_error": "it was to be looked up again too many times",
    "datapath_drop_invalid_port": "it was to leave by a port that is not there",
    "datapath_drop_invalid_bond": "it was to leave by a bond that is not there",
    "datapath_drop_invalid_tnl_port": "it was for a tunnel that is not there",
    "datapath_drop_hw_miss_recover": "hardware forwarded half of it, and software could not go on",
    "datapath_drop_hw_post_process": "hardware forwarded half of it, and software could not go on",
    "netdev_push_header_drops": "it was to be cut into segments, and the tunnel cannot",
    "netdev_vxlan_tso_drops": "it was to be cut into segments, and went into a VXLAN tunnel",
    "netdev_geneve_tso_drops": "it was to be cut into segments, and went into a Geneve tunnel",
    "netdev_soft_seg_drops": "it could not be cut into segments",
    "afxdp_fq_full": "the fill ring of an AF_XDP socket was full",
    "afxdp_tx_full": "the transmit ring of an AF_XDP socket was full",
    "packet_in_overflow": "the queue to the OpenFlow controller was full",
    "netlink_overflow": "the socket buffer was full, and messages of the kernel were lost",
    "drop_action_too_many_mpls_labels": "the flow tables put on more MPLS labels than there may be",
    "drop_action_recursion_too_deep": "the flow tables call one another too deep",
    "drop_action_too_many_resubmit": "the flow tables resubmit too often",
    "drop_action_stack_too_deep": "the flow tables put too much on their stack",
    "drop_action_congestion": "it was marked as congested, and cannot say so in its outer header",
}
"""What loses packets, and how."""
FEW = 1.0


@rule(
    CoverageEvent,
    ask="ovs-appctl coverage/show",
    well="ovs-vswitchd counted no loss in the last minute.",
    topic="ovs-vswitchd",
)
def ovs_drops_packets(case: Case) -> Iterator[Finding]:
    """One finding an event."""
    for one in happening(case, *EVENTS):
        hard = one.now and one.rate > FEW
        yield Finding(
            severity=Severity.PROBLEM if hard else Severity.WARNING,
            confidence=Confidence.CERTAIN if one.now else Confidence.LIKELY,
            summary=f"ovs-vswitchd lost {one.rate:,.1f} packets a second {one.span} ({one.event.name}).",
            evidence=(one.event.at,),
            why=f"Each of them was dropped because {EVENTS[one.event.name]}.",
            about=one.event.name,
            proof="" if one.now else f"ovs-appctl coverage/read-counter {one.event.name}, twice",
        )
