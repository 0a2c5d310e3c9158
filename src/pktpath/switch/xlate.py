"""The slow path: what becomes of a packet, worked out from the tables of its bridge.

Every bit of the key that has a say in the answer is in the mask of the answer, so that the datapath may give it
to every packet that agrees in these bits. As in Open vSwitch the port, the Ethernet type and, for IP, whether
it is a fragment are always in it.
"""

import time
from collections.abc import Callable, Sequence

from pktpath.errors import BadInput
from pktpath.switch import openflow as of
from pktpath.switch.actions import Action, Controller, Meter
from pktpath.switch.bridge import Bridge, BridgePort
from pktpath.switch.fields import FIELDS, FRAG_ANY, FRAG_LATER, VLAN_PRESENT, mask_of
from pktpath.switch.normal import normal
from pktpath.switch.openflow_fields import ETH_IP, ETH_IPV6, ICMP, ICMPV6
from pktpath.switch.slow_path import Translation
from pktpath.switch.walk import Bucket, Final, Hit, Step, TooMuch, Walk

MAX_DEPTH = 64
"""Tables inside of tables."""
MAX_LOOKUPS = 4096
"""Lookups for one packet after its first."""

_IN_PORT, _DL_TYPE, _FRAG, _PROTO = FIELDS["in_port"], FIELDS["dl_type"], FIELDS["nw_frag"], FIELDS["nw_proto"]
_TTL, _VLAN = FIELDS["nw_ttl"], FIELDS["vlan_tci"]
_ALWAYS = mask_of("in_port", "dl_type")
_PORTS = mask_of("tp_src", "tp_dst")
_ICMP_PORTS = 0xFF << FIELDS["tp_src"].shift | 0xFF << FIELDS["tp_dst"].shift
_TRANSPORT = mask_of("tp_src", "tp_dst", "tcp_flags", "nd_target")
_TUN_ID = FIELDS["tun_id"].mask
_VLAN_PRESENT = VLAN_PRESENT << _VLAN.shift
_IP = (ETH_IP, ETH_IPV6)


class Slow:
    """All bridges of a datapath: the `SlowPath` that the datapath asks.

    One caller at a time: who has several threads keeps a lock around it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.version = 0
        self.clock = clock
        self.bridges: dict[str, Bridge] = {}
        self._ports: dict[int, tuple[Bridge, int]] = {}
        self._ports_of = -1

    def changed(self) -> None:
        """Say that translations made until now may be wrong."""
        self.version += 1

    def add_bridge(self, name: str, *, fail_mode: str = "standalone") -> Bridge:
        """Add a bridge without ports; a standalone one has a rule that does NORMAL."""
        if name in self.bridges:
            said = f"bridge {name}: is there already"
            raise BadInput(said)
        bridge = self.bridges[name] = Bridge(name, fail_mode, self.clock, self.changed)
        self.changed()
        return bridge

    def remove_bridge(self, name: str) -> Bridge:
        """Take a bridge away."""
        bridge = self.bridges.pop(name)
        self.changed()
        return bridge

    def expire(self, now: float | None = None) -> None:
        """Let go what is too old in every bridge; once a second is often enough."""
        for bridge in self.bridges.values():
            bridge.expire(self.clock() if now is None else now)

    def find_port(self, number: int) -> tuple[Bridge, BridgePort] | None:
        """Return the bridge and the port of a datapath number."""
        if self._ports_of != self.version:
            self._ports = {
                port.number: (bridge, port.openflow) for bridge in self.bridges.values() for port in bridge.ports.values()
            }
            self._ports_of = self.version
        found = self._ports.get(number)
        return None if found is None else (found[0], found[0].ports[found[1]])

    def translate(
        self, key: int, *, packets: int = 1, learn: bool = True, trace: list[Step] | None = None
    ) -> Translation:  # fmt: skip
        """Translate one packet; `learn=False` changes nothing. `trace` gets the steps that led there.

        Nothing is counted here: what the packet weighs is handed to `credit`, as for every later packet of its megaflow.
        A learned address is in the tables before the answer is made, so the answer may be installed.
        """
        found = self.find_port(_IN_PORT.of(key))
        if found is None:
            return Translation(_finish(_ALWAYS, key), ())
        bridge, port = found
        walk = Walk(bridge, _IN_PORT.put(key, port.openflow), learn=learn, trace=trace)
        try:
            if walk.arrive():
                _lookup(walk, 0, walk.in_port)
        except TooMuch as much:
            if trace is not None:
                trace.append(Step(0, Final(walk.key, tuple(walk.tags))))
                trace.append(Step(0, f"Translation failed ({much}), packet is dropped."))
            return Translation(_finish(walk.looked, key), (), tuple(walk.credits))
        if trace is not None:
            trace.append(Step(0, Final(walk.key, tuple(walk.tags))))
        return Translation(_finish(walk.looked, key), tuple(walk.actions), tuple(walk.credits))

    def credit(self, translation: Translation, packets: int, size: int, used: float) -> None:
        """Add what a megaflow forwarded to the rules that made it; `used` is in monotonic seconds."""
        for one in translation.credit:
            one.credit(packets, size, used)


def _finish(looked: int, key: int) -> int:
    """Return the mask of a megaflow for the bits looked at."""
    looked |= _ALWAYS
    dl_type = _DL_TYPE.of(key)
    if dl_type in _IP:
        looked |= _FRAG.mask
        if _FRAG.of(key) & FRAG_LATER:
            # There are none, and a key of such a fragment says 0.
            looked &= ~_PORTS
        elif looked & _PORTS and _PROTO.of(key) == (ICMP if dl_type == ETH_IP else ICMPV6):
            looked &= ~_PORTS | _ICMP_PORTS
        if looked & _TRANSPORT:
            # A port is a port of a protocol: without it the bits could be neither read nor written down.
            looked |= _PROTO.mask
    if looked & _VLAN.mask:
        looked |= _VLAN_PRESENT
    # No port here has packets with a tunnel id: a rule sees only what another one noted.
    return looked & ~_TUN_ID


def _lookup(walk: Walk, number: int, in_port: int) -> None:
    """Find the rule of a table as if the packet came in by this port, and do what it says."""
    if walk.depth > MAX_DEPTH:
        walk.note(f">>>> over max translation depth {MAX_DEPTH} <<<<")
        said = "Recursion too deep"
        raise TooMuch(said)
    if walk.lookups > MAX_LOOKUPS:
        walk.note(f">>>> over {MAX_LOOKUPS} resubmit actions <<<<")
        said = "Too many resubmits"
        raise TooMuch(said)
    walk.lookups += 1
    table = walk.bridge.tables.table(number)
    key = walk.key if in_port == walk.in_port else _IN_PORT.put(walk.key, in_port)
    before = walk.looked
    if _FRAG.of(key) & FRAG_ANY and _DL_TYPE.of(key) in _IP:
        # A fragment has no ports, not even the first one: all of a datagram goes one way (ovs-ofctl(8), set-frags normal).
        rule, looked = table.classifier.lookup(key & ~_PORTS, before)
        walk.looked = looked & ~_PORTS | before
    else:
        rule, walk.looked = table.classifier.lookup(key, before)
    walk.credits.append(table.counters if rule is None else rule)
    if walk.trace is not None:
        walk.trace.append(Step(walk.indent, Hit(number, rule)))
    if rule is not None:
        walk.depth += 1
        _do(walk, rule.actions, number)
        walk.depth -= 1


def _do(walk: Walk, actions: Sequence[of.OfAction], table: int) -> None:
    """Do what a rule or a bucket of this table says."""
    last = len(actions) - 1
    for place, action in enumerate(actions):
        if walk.trace is not None:
            walk.trace.append(Step(walk.indent, action))
        match action:
            case of.Output(port, max_len):
                _output(walk, port, max_len)
            case of.SetField():
                walk.put(action)
            case of.Resubmit(port, number):
                # What is done last stands in a trace beside the rule, not inside it.
                inside = 0 if place == last else 1
                walk.indent += inside
                _lookup(walk, table if number is None else number, walk.in_port if port is None else port)
                walk.indent -= inside
            case of.GotoTable(number):
                _lookup(walk, number, walk.in_port)
            case of.ModVlanVid(vid, push):
                walk.put_vlan(vid, 0xFFF, push=push)
            case of.ModVlanPcp(pcp, push):
                walk.put_vlan(pcp << 13, 0xE000, push=push)
            case of.PushVlan(tpid):
                walk.looked |= _VLAN.mask
                walk.set_tags([*walk.tags, (tpid, VLAN_PRESENT)])
            case of.PopVlan():
                walk.looked |= _VLAN.mask
                walk.set_tags(walk.tags[:-1])
            case of.DecTtl(controllers):
                if not _count_down(walk, controllers):
                    return
            case of.ToController(max_len, reason, controller):
                _to_controller(walk, Controller(max_len, controller, reason))
            case of.Group(number):
                _group(walk, number, table)
            case of.Meter(number):
                walk.append(Meter(number))


def _output(walk: Walk, number: int, max_len: int) -> None:
    match number:
        case of.NORMAL:
            normal(walk)
        case of.FLOOD | of.ALL:
            for port in list(walk.bridge.ports.values()):
                if port.openflow != walk.in_port and (port.flood or number == of.ALL):
                    walk.send(port)
        case of.CONTROLLER:
            _to_controller(walk, Controller(max_len or 65535, 0, of.ACTION))
        case _:
            if number == of.IN_PORT:
                number = walk.in_port
            elif number == walk.in_port:
                walk.note(">> skipping output to input port")
                return
            if number in walk.bridge.ports:
                walk.send(walk.bridge.ports[number])
            else:
                walk.note(">> Nonexistent output port")


def _to_controller(walk: Walk, action: Action) -> None:
    walk.commit()
    walk.append(action)


def _count_down(walk: Walk, controllers: tuple[int, ...]) -> bool:
    """Count the TTL down; return False where it would end."""
    if _DL_TYPE.of(walk.key) not in _IP:
        return True
    walk.looked |= _TTL.mask
    ttl = _TTL.of(walk.key)
    if ttl > 1:
        walk.written |= _TTL.mask
        walk.key = _TTL.put(walk.key, ttl - 1)
        return True
    for controller in controllers:
        _to_controller(walk, Controller(65535, controller, of.INVALID_TTL))
    walk.note(f">> {'IPv4' if _DL_TYPE.of(walk.key) == ETH_IP else 'IPv6'} decrement TTL exception")
    return False


def _group(walk: Walk, number: int, table: int) -> None:
    group = walk.bridge.groups.get(number)
    if group is None:
        walk.note(f">> group {number} does not exist")
        return
    walk.credits.append(group)
    buckets = group.buckets
    if group.kind == "select":
        hashed = group.hashed(walk.key)
        walk.looked |= hashed
        chosen = group.choose(walk.key & hashed)
        if chosen is None:
            walk.note("-> no live bucket")
            return
        walk.note(f"-> using bucket {chosen.number}")
        buckets = (chosen,)
    walk.depth += 1
    if walk.depth > MAX_DEPTH:
        said = "Recursion too deep"
        raise TooMuch(said)
    for bucket in buckets:
        if walk.trace is not None:
            walk.trace.append(Step(walk.indent, Bucket(bucket.number)))
        walk.credits.append(bucket)
        # What a bucket changes, the packet loses again behind it.
        key, tags = walk.key, walk.tags
        walk.indent += 1
        _do(walk, bucket.in_order, table)
        walk.indent -= 1
        walk.key, walk.tags = key, tags
    walk.depth -= 1
