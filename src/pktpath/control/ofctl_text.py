"""What ovs-ofctl 3.1 prints of a bridge, its ports and its tables; flows and groups have modules of their own."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import groupby

from pktpath.control.flow_values import port_text
from pktpath.switch.bridge import Bridge, BridgePort
from pktpath.switch.openflow import LOCAL
from pktpath.switch.rules import Aggregate
from pktpath.switch.views import PortView

TABLES = 254
"""How many Open vSwitch tells of; one more, the last, is told of here once it was used."""
_FEATURES = """\
    max_entries=1000000
    matching:
      exact match or wildcard: in_port eth_{src,dst,type} vlan_{vid,pcp} ip_{src,dst} nw_{proto,tos} tcp_{src,dst}
"""
_RX = {
    "pkts": "rx_packets",
    "bytes": "rx_bytes",
    "drop": "rx_dropped",
    "errs": "rx_errors",
    "frame": "rx_frame_errors",
    "over": "rx_over_errors",
    "crc": "rx_crc_errors",
}
_TX = {"pkts": "tx_packets", "bytes": "tx_bytes", "drop": "tx_dropped", "errs": "tx_errors", "coll": "tx_collisions"}
_ACTIONS = "set_vlan_vid set_vlan_pcp strip_vlan mod_dl_src mod_dl_dst mod_nw_src mod_nw_dst mod_nw_tos mod_tp_src mod_tp_dst"

Views = Mapping[int, PortView]
"""Ports of a bridge by their OpenFlow number."""
Address = Callable[[int], str]
"""Takes the number of a port in the datapath; returns the Ethernet address of its interface, nothing where it has none."""
_NO_ADDRESS = "00:00:00:00:00:00"


def show(bridge: Bridge, address: Address) -> str:
    """Return the text of `show`."""
    # The low six bytes are an address, as everywhere; one of our own where the bridge's port has none.
    own = blake2b(bridge.name.encode(), digest_size=6).digest()
    local = bridge.ports.get(LOCAL)
    identity = (address(local.number) if local else "") or bytes([own[0] & 0xFC | 2, *own[1:]]).hex(":")
    return (
        f"OFPT_FEATURES_REPLY (xid=0x2): dpid:0000{identity.replace(':', '')}\n"
        f"n_tables:{TABLES}, n_buffers:0\n"
        "capabilities: FLOW_STATS TABLE_STATS PORT_STATS ARP_MATCH_IP\n"
        f"actions: output {_ACTIONS}\n"
        f"{_ports(bridge.ports.values(), address)}"
        "OFPT_GET_CONFIG_REPLY (xid=0x4): frags=normal miss_send_len=0\n"
    )


def ports_desc(ports: Iterable[BridgePort], address: Address) -> str:
    """Return the text of `dump-ports-desc`."""
    return f"OFPST_PORT_DESC reply (xid=0x2):\n{_ports(ports, address)}"


def _ports(ports: Iterable[BridgePort], address: Address) -> str:
    return "".join(
        f" {port_text(port.openflow)}({port.name}): addr:{address(port.number) or _NO_ADDRESS}\n"
        f"     config:     {'0' if port.flood else 'NO_FLOOD'}\n"
        "     state:      0\n"
        "     speed: 0 Mbps now, 0 Mbps max\n"
        for port in sorted(ports, key=lambda port: port.openflow)
    )


def ports_stats(ports: Sequence[BridgePort], views: Views, *, xid: int = 2) -> str:
    """Return the text of `dump-ports`; what a port does not count is a question mark."""
    rows = [f"OFPST_PORT reply (xid={xid:#x}): {len(ports)} ports\n"]
    for port in sorted(ports, key=lambda port: (port.openflow != LOCAL, port.openflow)):
        view = views.get(port.openflow)
        counters = view.counters if view else {}
        rx, tx = (", ".join(f"{word}={counters.get(name, '?')}" for word, name in way.items()) for way in (_RX, _TX))
        rows.append(f"  port {port_text(port.openflow):>2}: rx {rx}\n           tx {tx}\n")
    return "".join(rows)


def tables(bridge: Bridge) -> str:
    """Return the text of `dump-tables`."""
    there = {table.counters.number: table for table in bridge.tables}
    values = []
    for number in range(max(TABLES, *(number + 1 for number in there), 0)):
        table = there.get(number)
        counts = (len(table.classifier), table.counters.lookups, table.counters.matched) if table else (0, 0, 0)
        values.append((number, counts))
    blocks: list[str] = []
    for counts, same in groupby(values, key=lambda value: value[1]):
        numbers = [number for number, _ in same]
        active, lookup, matched = counts
        features = "    (same features)\n" if blocks else _FEATURES
        blocks.append(f"  table {numbers[0]}:\n    active={active}, lookup={lookup}, matched={matched}\n{features}")
        if len(numbers) == 2:
            blocks.append(f"  table {numbers[1]}: ditto\n")
        elif len(numbers) > 2:
            blocks.append(f"  tables {numbers[1]}...{numbers[-1]}: ditto\n")
    return "OFPST_TABLE reply (xid=0x2):\n" + "\n".join(blocks)


def aggregate(sums: Aggregate, *, xid: int) -> str:
    """Return the text of `dump-aggregate`."""
    counts = f"packet_count={sums.packets} byte_count={sums.size} flow_count={sums.flows}"
    return f"NXST_AGGREGATE reply (xid={xid:#x}): {counts}\n"
