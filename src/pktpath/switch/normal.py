"""What NORMAL does: a learning switch with VLANs."""

from typing import TYPE_CHECKING

from pktpath.switch.fields import FIELDS, VLAN_PRESENT, mask_of

if TYPE_CHECKING:
    from pktpath.switch.bridge import Bridge, BridgePort
    from pktpath.switch.walk import Walk

_LOOKS_AT = mask_of("dl_src", "dl_dst") | (VLAN_PRESENT | 0xFFF) << FIELDS["vlan_tci"].shift
_DL_SRC, _DL_DST, _VLAN = FIELDS["dl_src"], FIELDS["dl_dst"], FIELDS["vlan_tci"]
_MULTICAST = 1 << 40

_RESERVED_BLOCKS = ((0x0180C2000000, 0xFFFFFFFFFFF0), (0x01000CCCCCC0, 0xFFFFFFFFFFF0))
_RESERVED = frozenset({0x00E02B000000, 0x00E02B000004, 0x00E02B000006, 0x01000CCDCDCD, 0x01000C000000})
"""Protocols of the link itself, which a bridge does not forward (ovs-vswitchd.conf.db(5), forward-bpdu)."""


def reserved(mac: int) -> bool:
    """Whether frames to an address stay on their link."""
    return mac in _RESERVED or any(mac & mask == block for block, mask in _RESERVED_BLOCKS)


def text_of(mac: int) -> str:
    """Return an address as it is written."""
    return mac.to_bytes(6, "big").hex(":")


class MacUse:
    """Packets of a megaflow keep the sender's address in the table, where they came from."""

    __slots__ = ("bridge", "mac", "port", "vlan")

    def __init__(self, bridge: "Bridge", vlan: int, mac: int, port: int) -> None:
        self.bridge, self.vlan, self.mac, self.port = bridge, vlan, mac, port

    def credit(self, packets: int, size: int, used: float) -> None:
        """Note that the address was seen."""
        if packets and self.port in self.bridge.ports and self.bridge.macs.learn(self.vlan, self.mac, self.port, used):
            self.bridge.changed()


def normal(walk: "Walk") -> None:
    """Send the packet of a walk where a learning switch would."""
    bridge = walk.bridge
    walk.looked |= _LOOKS_AT
    port = bridge.ports.get(walk.in_port)
    if port is None:
        walk.note(">> no input bundle, dropping")
        return
    vlan = port.vlan_of(_VLAN.of(walk.key))
    if vlan is None:
        _say_why(walk, port)
        return
    source, destination = _DL_SRC.of(walk.key), _DL_DST.of(walk.key)
    if reserved(destination):
        walk.note("-> packet has reserved destination MAC, dropping")
        return
    if not source & _MULTICAST:
        if walk.learn and bridge.macs.learn(vlan, source, port.openflow):
            bridge.changed()
            if walk.trace is not None:
                walk.note(f"-> learned that {text_of(source)} is on port {port.name} in VLAN {vlan}")
        walk.credits.append(MacUse(bridge, vlan, source, port.openflow))
    known = None if destination & _MULTICAST else bridge.macs.port_of(vlan, destination)
    if known is None:
        walk.note("-> no learned MAC for destination, flooding")
        reserved_ports = {mirror.output for mirror in bridge.mirrors}
        for other in list(bridge.ports.values()):
            if other is not port and other.flood and other.carries(vlan) and other.openflow not in reserved_ports:
                output(walk, other, vlan)
    elif known == port.openflow:
        walk.note("-> learned port is input port, dropping")
    elif known not in bridge.ports:
        walk.note("-> learned port is unknown, dropping")
    else:
        walk.note("-> forwarding to learned port")
        if bridge.ports[known].carries(vlan):
            output(walk, bridge.ports[known], vlan)


def output(walk: "Walk", port: "BridgePort", vlan: int, *, copy: bool = False) -> None:
    """Send a packet of a VLAN out by a port, tagged as the port wants it; the packet of the walk stays as it is.

    A mirror's copy is not mirrored again.
    """
    tags, key = walk.tags, walk.key
    tci = _VLAN.of(key)
    wanted = port.tci_for(vlan, tci >> 13)
    if wanted & ~0xE000 != tci & ~0xE000:
        outer = [(tags[-1][0] if tags else 0x8100, wanted)] if wanted else []
        walk.set_tags([*tags[:-1], *outer])
    if copy:
        walk.emit(port)
    else:
        walk.send(port)
    walk.tags = tags
    walk.key = _VLAN.put(walk.key, tci)


def _say_why(walk: "Walk", port: "BridgePort") -> None:
    vid = _VLAN.of(walk.key) & 0xFFF
    if port.vlan_mode == "access":
        said = f"dropping VLAN {vid} tagged packet received on port {port.name} configured as VLAN {port.tag} access port"
    else:
        said = f"dropping VLAN {vid} packet received on port {port.name} not configured for trunking VLAN {vid}"
    walk.note(f">>>> {said} <<<<")
    walk.note(">> disallowed VLAN VID for this input port, dropping")
