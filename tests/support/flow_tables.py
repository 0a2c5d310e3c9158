"""Flows that have something to do with each other: what a random flow matches, and how it is written."""

from pktpath.errors import BadInput

MATCHES = {
    "": """in_port=1 in_port=2 dl_src=00:00:00:00:00:01 dl_dst=01:00:00:00:00:00/01:00:00:00:00:00 dl_vlan=5 dl_vlan_pcp=3
        vlan_tci=0x1000/0x1000 vlan_tci=0/0x1fff dl_vlan=10 dl_dst=00:00:00:00:00:02""",
    "ip": """nw_src=10.0.0.1 nw_src=10.0.0.0/8 nw_dst=10.0.0.0/255.0.0.255 nw_ttl=64 nw_tos=32 nw_ecn=1 ip_frag=no ip_frag=yes
        ip_frag=later ip_frag=first ip_frag=not_later nw_proto=6 nw_dst=10.0.0.2""",
    "tcp": "tp_dst=80 tp_dst=0 tp_src=0x40/0xffc0 tcp_flags=+syn-ack nw_dst=10.0.0.1",
    "udp": "tp_dst=80 nw_src=10.0.0.0/24 tp_src=64",
    "icmp": "icmp_type=8 icmp_code=0",
    "arp": "arp_op=1 arp_spa=10.0.0.1 arp_sha=00:00:00:00:00:01",
    "ipv6": "ipv6_src=fe80::/10 ipv6_dst=::1 ipv6_label=0x1/0x3 nw_ttl=64",
    "tcp6": "tp_dst=80 ipv6_dst=fe80::1",
}
ACTIONS = [
    "output:1",
    "output:2",
    "output:3",
    "output:4",
    "in_port",
    "flood",
    "all",
    "local",
    "mod_dl_src:00:00:00:00:00:07",
    "dec_ttl",
    "mod_dl_dst:00:00:00:00:00:01",
    "mod_vlan_vid:5",
    "mod_vlan_pcp:3",
    "strip_vlan",
    "push_vlan:0x8100",
    "push_vlan:0x88a8",
    "resubmit(,1)",
    "resubmit(2,1)",
    "resubmit(,2)",
    "mod_nw_src:10.0.0.1",
    "mod_nw_dst:10.0.0.2",
    "mod_nw_tos:32",
    "mod_tp_dst:80",
    "mod_tp_src:4097",
    "load:1->NXM_OF_ETH_DST[0..7]",
    "output:2",
    "output:3",
]
"""With repeated outputs, so that frames mostly go somewhere."""


def matches_of(kind):
    """Return the matches that flows of a protocol may have."""
    return (MATCHES[kind] + " " + MATCHES[""]).split()


def add_flow(flows, parse, table, priority, kind, match, actions):
    """Append the flow, as text, if its fields do not contradict each other."""
    words = [f"table={table}", f"priority={priority}", *([kind] if kind else []), *match]
    flow = ",".join(words) + ",actions=" + (",".join(actions) or "drop")
    try:
        parse(flow)
    except BadInput:
        return
    flows.append(flow)
