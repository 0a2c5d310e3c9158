"""The whole switch in its most obvious form: a frame in, frames out, nothing remembered of how others went."""

from pktpath.switch.fields import FIELDS
from support import naive_rewrite
from support.naive_flow_key import flow_key
from support.naive_switch import NaiveSwitch, fields_of

_BESIDE = {"in_port", "tun_id", "vlan_tci"}


class NaiveBytes(NaiveSwitch):
    """As `NaiveSwitch`, whose outputs are bytes."""

    def frames(self, number, data):
        """Return (datapath port, bytes) of what leaves when this frame comes in by a port."""
        key = flow_key(data, number)
        self.before = fields_of(key)
        tagged = self.before["vlan_tci"] != 0
        self.own, self.body = (data[12:16], data[:12] + data[16:]) if tagged else (b"", data)
        return [found for found in self.run(key) if isinstance(found[0], int)]

    def send(self, openflow):
        port = self.bridge.ports.get(openflow)
        if port is not None:
            self.sent.append((port.number, self.bytes()))

    def bytes(self):
        """Return the frame as it is now."""
        data = self.body
        for name, value in self.fields.items():
            if name not in _BESIDE and value != self.before[name]:
                data = naive_rewrite.set_field(data, name, value, (1 << FIELDS[name].bits) - 1)
        tags = b""
        for tpid, tci in self.tags:
            if tpid is None and tci == self.before["vlan_tci"]:
                tags = self.own + tags
            else:
                # A bit that the key has no room for goes with the first change.
                tags = (tpid.to_bytes(2) if tpid else self.own[:2]) + (tci & 0xEFFF).to_bytes(2) + tags
        return data[:12] + tags + data[12:]
