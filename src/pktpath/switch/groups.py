"""Groups: one of several lists of actions, or all of them."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from pktpath.errors import BadInput
from pktpath.switch.fields import FIELDS, mask_of
from pktpath.switch.openflow import OfActions, action_set

TYPES = ("all", "select", "indirect")
"""Fast failover needs port states and is not here."""

_IP = (0x0800, 0x86DD)
_PORTED = (6, 17, 132)
_ADDRESSES = {0x0800: mask_of("nw_src", "nw_dst", "nw_proto"), 0x86DD: mask_of("ipv6_src", "ipv6_dst", "nw_proto")}
_ETHERNET = mask_of("dl_src", "dl_dst", "dl_type", "vlan_tci")
_TRANSPORT = mask_of("tp_src", "tp_dst")


@dataclass(eq=False, slots=True)
class Bucket:
    """One choice of a group."""

    number: int
    actions: OfActions
    weight: int = 1
    packets: int = 0
    size: int = 0
    in_order: OfActions = field(init=False)
    """The actions as they are done: those of an action set."""

    def __post_init__(self) -> None:
        self.in_order = action_set(self.actions)

    def credit(self, packets: int, size: int, used: float) -> None:
        """Count packets that went this way."""
        self.packets += packets
        self.size += size


@dataclass(eq=False, slots=True)
class Group:
    """A group. As a thing with `credit` it counts all that came to it."""

    number: int
    kind: str
    buckets: tuple[Bucket, ...]
    method: str = ""
    """selection_method as written: "", dp_hash or hash."""
    fields: tuple[tuple[str, int], ...] = ()
    """For method hash: names as written and bits of the key to hash."""
    created: float = 0.0
    packets: int = 0
    size: int = 0
    total: int = field(init=False)

    def __post_init__(self) -> None:
        self.total = sum(bucket.weight for bucket in self.buckets)

    def credit(self, packets: int, size: int, used: float) -> None:
        """Count packets that came to the group."""
        self.packets += packets
        self.size += size

    def hashed(self, key: int) -> int:
        """Return the bits of a key that choose the bucket.

        By default those of a connection, as the datapath's hash of Open vSwitch: addresses, protocol and ports of IP,
        addresses and VLAN of Ethernet for all else. Fragments have no ports.
        """
        if self.fields:
            mask = 0
            for _, bits in self.fields:
                mask |= bits
            return mask
        dl_type = FIELDS["dl_type"].of(key)
        if dl_type not in _IP:
            return _ETHERNET
        ported = FIELDS["nw_proto"].of(key) in _PORTED and not FIELDS["nw_frag"].of(key) & 1
        return _ADDRESSES[dl_type] | (_TRANSPORT if ported else 0)

    def choose(self, key: int) -> Bucket | None:
        """Return the bucket of a select group for a key of which only the hashed bits are left; None where all weigh 0."""
        if not self.total:
            return None
        place = _mix(key) * self.total >> 64
        for bucket in self.buckets:
            place -= bucket.weight
            if place < 0:
                return bucket
        return None


def _mix(key: int) -> int:
    """Return 64 well-mixed bits of a number of any length; the same in every run (splitmix64 over its words)."""
    mixed = 0
    while key:
        mixed = (mixed ^ key) + 0x9E3779B97F4A7C15 & (1 << 64) - 1
        mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & (1 << 64) - 1
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & (1 << 64) - 1
        mixed ^= mixed >> 31
        key >>= 64
    return mixed


class GroupMod(NamedTuple):
    """One change of the group table; buckets are (number or None, weight, actions)."""

    command: str
    """add, modify, add_or_mod or delete."""
    number: int | None
    """None: all, for deletion."""
    kind: str = "all"
    buckets: tuple[tuple[int | None, int, OfActions], ...] = ()
    method: str = ""
    fields: tuple[tuple[str, int], ...] = ()


class GroupTable:
    """Groups of one bridge."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._groups: dict[int, Group] = {}

    def put(self, mod: GroupMod) -> None:
        """Add or change a group."""
        number = mod.number or 0
        if mod.command == "add" and number in self._groups:
            said = f"group_id={number}: is there already (mod-group changes it)"
            raise BadInput(said)
        if mod.command == "modify" and number not in self._groups:
            said = f"group_id={number}: is not there (add-group adds it)"
            raise BadInput(said)
        if mod.kind == "indirect" and len(mod.buckets) != 1:
            said = f"group_id={number}: type=indirect has one bucket, not {len(mod.buckets)}"
            raise BadInput(said)
        taken = {one for one, _, _ in mod.buckets if one is not None}
        free = (one for one in range(len(mod.buckets) + len(taken) + 1) if one not in taken)
        buckets = tuple(Bucket(next(free) if one is None else one, actions, weight) for one, weight, actions in mod.buckets)
        self._groups[number] = Group(number, mod.kind, buckets, mod.method, mod.fields, self._clock())

    def delete(self, number: int) -> bool:
        """Remove a group; return whether it was there."""
        return self._groups.pop(number, None) is not None

    def get(self, number: int) -> Group | None:
        """Return a group."""
        return self._groups.get(number)

    def __contains__(self, number: int) -> bool:
        return number in self._groups

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self._groups))
