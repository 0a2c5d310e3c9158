"""The slow path in its most obvious form: rules one by one, a packet as a dictionary, a copy of it for each output.

Nothing of it knows about masks, subtables or what a datapath was told before.
"""

from pktpath.switch import actions as dp
from pktpath.switch import openflow as of
from pktpath.switch.fields import FIELDS
from pktpath.switch.openflow_fields import FIELD_NAMES

IP = (0x0800, 0x86DD)


def fields_of(key):
    return {name: field.of(key) for name, field in FIELDS.items()}


def key_of(fields):
    key = 0
    for name, field in FIELDS.items():
        key = field.put(key, fields[name])
    return key


def frame(fields, tags):
    """What leaves: everything but where it came from and what was only noted. A tag's own protocol (None) passes for 0x8100."""
    kept = tuple(value for name, value in fields.items() if name not in {"in_port", "tun_id", "vlan_tci"})
    return kept, tuple((tpid or 0x8100, tci & 0xEFFF) for tpid, tci in tags)


class NaiveSwitch:
    """One bridge; `rules` are FlowMods of ADD with different priorities, `macs` is (vlan, mac) -> port."""

    def __init__(self, bridge, rules):
        self.bridge = bridge
        self.rules = rules
        self.macs = {}
        self.learn = False
        self.sent = []

    def run(self, key):
        """Return a list of (datapath port, frame), meters and controllers included as ("meter", n), ("controller", reason)."""
        fields = fields_of(key)
        number = next(port.openflow for port in self.bridge.ports.values() if port.number == fields["in_port"])
        fields["in_port"] = number
        self.fields = fields
        tci = fields["vlan_tci"]
        self.tags = [(None, tci)] if tci else []
        self.sent = []
        self.depth = 0
        self.table(0, number)
        return self.sent

    def lookup(self, table, in_port):
        seen = dict(self.fields, in_port=in_port)
        if seen["dl_type"] in IP and seen["nw_frag"]:
            seen["tp_src"] = seen["tp_dst"] = 0
        key = key_of(seen)
        matching = [rule for rule in self.rules if (rule.table or 0) == table and key & rule.mask == rule.value]
        return max(matching, key=lambda rule: rule.priority, default=None)

    def table(self, number, in_port):
        self.depth += 1
        if self.depth > 65:
            raise RecursionError
        rule = self.lookup(number, in_port)
        if rule is not None:
            self.do(rule.actions, number)
        self.depth -= 1

    def send(self, openflow):
        port = self.bridge.ports.get(openflow)
        if port is not None:
            self.sent.append((port.number, frame(self.fields, self.tags)))

    def retag(self, tags):
        self.tags = tags
        self.fields["vlan_tci"] = tags[-1][1] if tags else 0

    def do(self, actions, table):
        for action in actions:
            if self.one(action, table):
                return

    def one(self, action, table):
        fields = self.fields
        in_port = fields["in_port"]
        match action:
            case of.Output(of.IN_PORT):
                self.send(in_port)
            case of.Output(of.NORMAL):
                self.normal()
            case of.Output(of.FLOOD | of.ALL):
                for port in list(self.bridge.ports):
                    if port != in_port:
                        self.send(port)
            case of.Output(port):
                if port != in_port:
                    self.send(port)
            case of.SetField():
                self.write(action)
            case of.ModVlanVid(vid, push):
                if self.tags or push:
                    self.top((fields["vlan_tci"] & 0xE000) | 0x1000 | vid)
            case of.ModVlanPcp(pcp, push):
                if self.tags or push:
                    self.top((fields["vlan_tci"] & 0xFFF) | 0x1000 | pcp << 13)
            case of.PushVlan(tpid):
                self.retag([*self.tags, (tpid, 0x1000)])
            case of.PopVlan():
                self.retag(self.tags[:-1])
            case of.DecTtl():
                if fields["dl_type"] in IP:
                    if fields["nw_ttl"] <= 1:
                        self.sent.append(("controller", of.INVALID_TTL))
                        return True
                    fields["nw_ttl"] -= 1
            case of.Resubmit(port, number):
                self.table(table if number is None else number, in_port if port is None else port)
            case of.GotoTable(number):
                self.table(number, in_port)
            case of.ToController(_, reason):
                self.sent.append(("controller", reason))
            case of.Meter(number):
                self.sent.append(("meter", number))
            case of.Group(number):
                self.group(self.bridge.groups.get(number), table)
        return False

    def group(self, group, table):
        buckets = group.buckets
        if group.kind == "select":
            key = key_of(self.fields)
            buckets = [group.choose(key & group.hashed(key))]
        for bucket in buckets:
            fields, tags = dict(self.fields), self.tags
            self.do(bucket.actions, table)
            self.fields, self.tags = fields, tags

    def top(self, tci):
        self.retag([*self.tags[:-1], (self.tags[-1][0] if self.tags else 0x8100, tci)])

    def write(self, action):
        name = FIELD_NAMES[action.name]
        fields = self.fields
        ip = fields["dl_type"] in IP
        later = ip and fields["nw_frag"] & 2
        there = {
            "dl_src": True, "dl_dst": True, "in_port": True, "tun_id": True, "nw_tos": ip, "nw_ttl": ip,
            "nw_src": fields["dl_type"] == (0x0806 if name.name.startswith("arp") else 0x0800),
            "nw_dst": fields["dl_type"] == (0x0806 if name.name.startswith("arp") else 0x0800),
            "ipv6_src": fields["dl_type"] == 0x86DD, "ipv6_dst": fields["dl_type"] == 0x86DD,
            "tp_src": ip and not later and fields["nw_proto"] in (6, 17, 132),
            "tp_dst": ip and not later and fields["nw_proto"] in (6, 17, 132),
        }[name.key]  # fmt: skip
        if there:
            mask = action.mask << name.low
            fields[name.key] = (fields[name.key] & ~mask) | (action.value << name.low)

    def normal(self):
        fields = self.fields
        port = self.bridge.ports.get(fields["in_port"])
        if port is None:
            return
        vid, present = fields["vlan_tci"] & 0xFFF, bool(self.tags)
        if port.vlan_mode == "access":
            if vid:
                return
            vlan = port.tag
        else:
            vlan = vid
            if port.trunks and vlan not in port.trunks:
                return
        if fields["dl_dst"] >> 4 == 0x0180C200000:
            return
        if self.learn and not fields["dl_src"] >> 40 & 1:
            self.macs[vlan, fields["dl_src"]] = port.openflow
        known = None if fields["dl_dst"] >> 40 & 1 else self.macs.get((vlan, fields["dl_dst"]))
        targets = [known] if known is not None else list(self.bridge.ports)
        for number in targets:
            out = self.bridge.ports[number]
            carried = out.tag == vlan if out.vlan_mode == "access" else not out.trunks or vlan in out.trunks
            if number == port.openflow or not carried:
                continue
            tags, tci = self.tags, fields["vlan_tci"]
            wanted = 0 if out.vlan_mode == "access" or not vlan else 0x1000 | (tci & 0xE000) | vlan
            if not (present and wanted == tci):
                self.retag([*tags[:-1], *([(tags[-1][0] if tags else 0x8100, wanted)] if wanted else [])])
            self.send(number)
            self.retag(tags)


def forwarded(actions, key):
    """What a datapath sends that does these actions with a packet of this key: as `NaiveSwitch.run`."""
    fields = fields_of(key)
    tags = [(None, fields["vlan_tci"])] if fields["vlan_tci"] else []
    sent = []
    for action in actions:
        match action:
            case dp.Output(port):
                sent.append((port, frame(fields, tags)))
            case dp.PushVlan(tpid, tci):
                tags = [*tags, (tpid, tci | 0x1000)]
            case dp.PopVlan():
                assert tags, "no tag to take away"
                tags = tags[:-1]
            case dp.Set("vlan_tci", value, mask):
                assert tags, "no tag to write to"
                tags = [*tags[:-1], (tags[-1][0], (tags[-1][1] & ~mask) | value)]
            case dp.Set(name, value, mask):
                assert not value & ~mask
                fields[name] = (fields[name] & ~mask) | value
            case dp.Meter(number):
                sent.append(("meter", number))
            case dp.Controller(_, _, reason):
                sent.append(("controller", reason))
    return sent


def plausible(key):
    """Return a key that a parser could make: a field that the packet has not is 0."""
    fields = fields_of(key)
    dl_type, proto = fields["dl_type"], fields["nw_proto"]
    keep = {"in_port", "dl_type", "vlan_tci", "dl_src", "dl_dst"}
    if dl_type in (0x0800, 0x0806):
        keep |= {"nw_src", "nw_dst", "nw_proto"}
    if dl_type == 0x0806:
        keep |= {"arp_sha", "arp_tha"}
    if dl_type == 0x86DD:
        keep |= {"ipv6_src", "ipv6_dst", "ipv6_label", "nw_proto"}
    if dl_type in IP:
        keep |= {"nw_tos", "nw_ttl", "nw_frag"}
        fields["nw_frag"] &= 3
        if fields["nw_frag"] == 2:
            fields["nw_frag"] = 3
        if not fields["nw_frag"] & 2:
            icmp = proto == (1 if dl_type == 0x0800 else 58)
            keep |= {"tp_src", "tp_dst"} if icmp or proto in (6, 17, 132) else set()
            keep |= {"tcp_flags"} if proto == 6 else set()
            if icmp:
                fields["tp_src"] &= 0xFF
                fields["tp_dst"] &= 0xFF
    if not fields["vlan_tci"] & 0x1000:
        fields["vlan_tci"] = 0
    return key_of({name: value if name in keep else 0 for name, value in fields.items()})
