"""GRO on `bytes`, as plainly as it can be said: the twin of the compiled kernel.

It shares no code with `pktpath.offload`; it takes the numbers of reasons and the rules by name.
"""

# ruff: noqa: EM101  a refusal is raised by its name

import struct
from dataclasses import dataclass, field
from typing import Any

from support.craft import word_sum

FIN, SYN, RST, PSH, URG, CWR = 1, 2, 4, 8, 0x20, 0x80
LINK_LENGTHS = {"RAW": 0, "SLL": 16, "SLL2": 20, "NULL": 4, "LOOP": 4}


@dataclass
class Arrival:
    """A frame as a port hands it over."""

    data: bytes
    link: str = "ETHERNET"
    in_port: int = 0
    hash: int = 0
    tag: tuple[int, int] | None = None
    """VLAN tag that the port took out: (ethertype, TCI)."""
    checked: str = "none"
    """Checksum so far: none, good, bad or partial."""
    wire_len: int = 0
    gso_size: int = 0


@dataclass
class Delivery:
    """A frame as the stack sees it."""

    data: bytes
    reason: str
    checked: str = "none"
    segs: int = 1
    size: int = 0
    fixed_id: bool = False
    ecn: bool = False
    origins: tuple[int, ...] = ()


@dataclass
class _Seen:
    """The headers of a frame that has a transport header, and what is equal in all frames of its flow."""

    flow: Any
    network: int
    network_at: int
    transport: int
    protocol: int
    payload: bytes = b""
    headers: bytes = b""
    problem: str = ""


@dataclass
class _Held:
    seen: _Seen
    reason: str
    checked: str
    number: int
    payloads: list[bytes] = field(default_factory=list)
    origins: list[int] = field(default_factory=list)
    headers: bytes = b""
    fixed_id: bool = False


class _Passes(Exception):  # noqa: N818  it is no error
    """The frame is delivered at once and completes nothing."""


def u16(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2])


def u32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4])


class NaiveGro:
    """One NAPI instance; `depth` None is the unlimited table."""

    def __init__(self, rules, *, buckets: int = 8, depth: int | None = 8, udp: bool = True, trust_partial: bool = False) -> None:
        self.rules, self.buckets, self.depth, self.udp, self.trust = rules, buckets, depth, udp, trust_partial
        self.held: list[_Held] = []
        """In order of arrival."""
        self.out: list[Delivery] = []

    def receive(self, arrival: Arrival, number: int) -> None:
        """Take one frame; `number` names it."""
        checked = [arrival.checked]
        try:
            seen = self._look(arrival, checked)
        except _Passes as refusal:
            self.out.append(Delivery(arrival.data, str(refusal), checked[0], origins=(number,)))
            return
        old = next((held for held in self.held if held.seen.flow == seen.flow), None)
        final = "" if seen.problem or seen.protocol == 17 else self._final(seen)
        reason = seen.problem
        if old:
            reason = reason or self._difference(old, seen, final)
            if not reason:
                self._merge(old, seen, number)
                ended = final or self._ends_by_size(old, seen)
                if ended:
                    self._complete(old, ended)
                return
            self._complete(old, reason)
        if seen.problem or final:
            self.out.append(Delivery(arrival.data, reason or final, checked[0], origins=(number,)))
            return
        if self.depth is not None:
            bucket = [held for held in self.held if held.seen.flow[0] % self.buckets == arrival.hash % self.buckets]
            if len(bucket) >= self.depth:
                self._complete(bucket[0], "evicted")
        self.held.append(_Held(seen, reason, checked[0], number, [seen.payload], [number], seen.headers))

    def flush(self) -> list[Delivery]:
        """End the poll; return all that was delivered since the last flush."""
        order = list(self.held)
        if self.depth is not None:
            order.sort(key=lambda held: held.seen.flow[0] % self.buckets)
        for held in order:
            self._complete(held, "none")
        out, self.out = self.out, []
        return out

    # What a frame is.

    def _look(self, arrival: Arrival, checked: list[str]) -> _Seen:
        data = arrival.data
        kind, at = self._link(arrival)
        if kind == 4:
            seen = self._ipv4(arrival, at)
        elif kind == 6:
            seen = self._ipv6(arrival, at)
        else:
            raise _Passes("malformed" if kind < 0 else "not_ip")
        if arrival.gso_size:
            seen.problem = "super_frame"
        start = seen.transport
        least = {6: 20, 17: 8}.get(seen.protocol)
        if least is None:
            raise _Passes("other_protocol")
        if len(data) < start + least:
            raise _Passes("malformed")
        zero = seen.protocol == 17 and u16(data, start + 6) == 0
        if not seen.problem and not (zero and checked[0] != "none"):
            self._check(seen, data, checked, zero=zero)
        if seen.protocol == 17:
            if not self.udp:
                raise _Passes("udp_off")
            if zero:
                raise _Passes("zero_checksum")
            if u16(data, start + 4) <= 8 or u16(data, start + 4) != len(data) - start:
                raise _Passes("bad_udp_length")
            end = start + 8
        else:
            end = start + (data[start + 12] >> 4) * 4
            if end < start + 20 or end > len(data):
                raise _Passes("malformed")
        seen.headers, seen.payload = data[:end], data[end:]
        outside = (arrival.hash, arrival.in_port, arrival.tag, arrival.link, data[:at])
        if seen.network == 4:
            inside: Any = data[at + 12 : at + 20]
        else:
            inside = (u32(data, at) & 0xF00FFFFF, data[at + 8 : start], data[at + 6])
        seen.flow = (*outside, inside, seen.protocol, data[start : start + 4])
        return seen

    @staticmethod
    def _link(arrival: Arrival) -> tuple[int, int]:
        """Return (4, 6, 0 for another, -1 for broken) and the offset of the network header."""
        data = arrival.data
        if arrival.link == "ETHERNET":
            at, length = 12, 14
        elif arrival.link == "SLL":
            at, length = 14, 16
        elif arrival.link == "SLL2":
            at, length = 0, 20
        else:
            at, length = 0, LINK_LENGTHS[arrival.link]
        if len(data) < max(length, 1):
            return 0, 0
        if arrival.link == "RAW":
            kind = {4: 0x800, 6: 0x86DD}.get(data[0] >> 4, 0)
        elif arrival.link in ("NULL", "LOOP"):
            family = u32(data, 0)
            if family > 0xFFFF:
                family = int.from_bytes(data[:4], "little")
            kind = {2: 0x800, 10: 0x86DD, 24: 0x86DD, 28: 0x86DD, 30: 0x86DD}.get(family, 0)
        else:
            kind = u16(data, at)
        while kind in (0x8100, 0x88A8):
            if len(data) < length + 4:
                return -1, 0
            kind = u16(data, length + 2)
            length += 4
        if kind == 0x800:
            return (4 if len(data) >= length + 20 and data[length] >> 4 == 4 and data[length] & 15 >= 5 else -1), length
        if kind == 0x86DD:
            return (6 if len(data) >= length + 40 and data[length] >> 4 == 6 else -1), length
        return 0, length

    @staticmethod
    def _ipv4(arrival: Arrival, at: int) -> _Seen:
        data = arrival.data
        header = (data[at] & 15) * 4
        if len(data) < at + header:
            raise _Passes("malformed")
        if arrival.wire_len > len(data):
            raise _Passes("cut_by_snaplen")
        length = u16(data, at + 2)
        fragment = u16(data, at + 6)
        if header > 20:
            raise _Passes("ip_options")
        if fragment & 0x3FFF:
            raise _Passes("ip_fragment")
        if word_sum(data[at : at + 20]) != 0xFFFF:
            raise _Passes("bad_ip_checksum")
        problem = "reserved_bit" if fragment & 0x8000 else ""
        if length != len(data) - at:
            problem = "length_mismatch"
        return _Seen(None, 4, at, at + 20, data[at + 9], problem=problem)

    @staticmethod
    def _ipv6(arrival: Arrival, at: int) -> _Seen:
        data = arrival.data
        if arrival.wire_len > len(data):
            raise _Passes("cut_by_snaplen")
        kind, start = data[at + 6], at + 40
        while kind in (0, 43, 44, 60):
            size = 8 if len(data) < start + 8 or kind == 44 else data[start + 1] * 8 + 8
            if kind == 44 and len(data) >= start + 8:
                raise _Passes("ip_fragment")
            if len(data) < start + size:
                raise _Passes("malformed")
            kind, start = data[start], start + size
        problem = "length_mismatch" if u16(data, at + 4) != len(data) - at - 40 else ""
        return _Seen(None, 6, at, start, kind, problem=problem)

    def _check(self, seen: _Seen, data: bytes, checked: list[str], *, zero: bool) -> None:
        if checked[0] == "none" and zero:
            checked[0] = "good"
        if checked[0] == "good":
            return
        if checked[0] == "partial":
            if self.trust:
                return
            raise _Passes("partial_checksum")
        if checked[0] == "bad":
            raise _Passes("bad_checksum")
        at = seen.network_at
        addresses = data[at + 12 : at + 20] if seen.network == 4 else data[at + 8 : at + 40]
        segment = data[seen.transport :]
        pseudo = addresses + struct.pack(">IHH", len(segment), 0, seen.protocol)
        if word_sum(pseudo + segment) == 0xFFFF:
            checked[0] = "good"
            return
        if u16(segment, 16 if seen.protocol == 6 else 6) == word_sum(pseudo):
            if not self.trust:
                raise _Passes("partial_checksum")
            checked[0] = "partial"
            return
        checked[0] = "bad"
        raise _Passes("bad_checksum")

    # What may follow what.

    @staticmethod
    def _final(seen: _Seen) -> str:
        flags = seen.headers[seen.transport + 13]
        for bit, name in ((SYN, "syn"), (RST, "rst"), (URG, "urg"), (FIN, "fin")):
            if flags & bit:
                return name
        if not seen.payload:
            return "empty"
        return "psh" if flags & PSH else ""

    def _difference(self, old: _Held, seen: _Seen, final: str) -> str:
        reason = self._tcp_difference(old, seen, final) if seen.protocol == 6 else ""
        if not reason and len(seen.payload) > len(old.payloads[0]):
            reason = "longer"
        reason = reason or self._network_difference(old, seen)
        if not reason:
            whole = len(old.headers) + sum(map(len, old.payloads)) + len(seen.payload)
            if whole - self._network_start(seen) >= self.rules.gro_max_size:
                reason = "too_big"
        return reason

    @staticmethod
    def _network_start(seen: _Seen) -> int:
        return 14 if seen.flow[3] == "ETHERNET" else seen.network_at

    def _tcp_difference(self, old: _Held, seen: _Seen, final: str) -> str:
        if final in ("syn", "rst", "urg", "empty") or (final == "fin" and not seen.payload):
            return final
        new, first = seen.headers[seen.transport :], old.headers[seen.transport :]
        if u32(new, 4) != (u32(first, 4) + sum(map(len, old.payloads))) % 2**32:
            return "out_of_sequence"
        if (u16(new, 12) ^ u16(first, 12)) & ~self.rules.ignored_flags:
            return "flags_differ"
        if u16(new, 14) != u16(first, 14):
            return "window_differs"
        if new[13] & CWR and self.rules.cwr_flushes:
            return "cwr"
        if new[8:12] != first[8:12]:
            return "ack_differs"
        return "options_differ" if new[20:] != first[20:] else ""

    def _network_difference(self, old: _Held, seen: _Seen) -> str:
        at = seen.network_at
        new, first = seen.headers[at:], old.headers[at:]
        if seen.network == 6:
            if new[7] != first[7]:
                return "ttl_differs"
            return "tos_differs" if (u16(new, 0) ^ u16(first, 0)) & 0xFF0 else ""
        if new[8] != first[8]:
            return "ttl_differs"
        if new[1] != first[1]:
            return "tos_differs"
        if (u16(new, 6) ^ u16(first, 6)) & 0x4000:
            return "df_differs"
        step = (u16(new, 4) - u16(first, 4)) % 65536
        if len(old.payloads) == 1:
            old.fixed_id = step == 0 and (bool(u16(new, 6) & 0x4000) or not self.rules.fixed_id_needs_df)
        return "ip_id" if step != (0 if old.fixed_id else len(old.payloads)) else ""

    @staticmethod
    def _merge(old: _Held, seen: _Seen, number: int) -> None:
        old.payloads.append(seen.payload)
        old.origins.append(number)
        if seen.protocol == 6:
            at = seen.transport + 13
            flags = old.headers[at] | seen.headers[at] & (FIN | PSH)
            old.headers = old.headers[:at] + bytes([flags]) + old.headers[at + 1 :]

    def _ends_by_size(self, old: _Held, seen: _Seen) -> str:
        if len(seen.payload) < len(old.payloads[0]):
            return "short"
        return "too_many_segments" if seen.protocol == 17 and len(old.payloads) >= self.rules.udp_segments else ""

    # What leaves.

    def _complete(self, held: _Held, why: str) -> None:
        self.held.remove(held)
        count = len(held.payloads)
        if count == 1:
            reason = held.reason or ("evicted" if why == "evicted" else "alone")
            self.out.append(Delivery(held.headers + held.payloads[0], reason, held.checked, origins=tuple(held.origins)))
            return
        seen = held.seen
        head, payload = bytearray(held.headers), b"".join(held.payloads)
        at, start = seen.network_at, seen.transport
        length = len(head) + len(payload) - at
        if seen.network == 4:
            change = word_sum(struct.pack(">HHH", ~u16(head, at + 10) & 0xFFFF, ~u16(head, at + 2) & 0xFFFF, length))
            head[at + 2 : at + 4] = length.to_bytes(2)
            head[at + 10 : at + 12] = (~change & 0xFFFF).to_bytes(2)
            addresses = bytes(head[at + 12 : at + 20])
        else:
            head[at + 4 : at + 6] = (length - 40).to_bytes(2)
            addresses = bytes(head[at + 8 : at + 40])
        length = len(head) + len(payload) - start
        pseudo = word_sum(addresses + struct.pack(">IHH", length, 0, seen.protocol)).to_bytes(2)
        if seen.protocol == 6:
            head[start + 16 : start + 18] = pseudo
        else:
            head[start + 4 : start + 8] = length.to_bytes(2) + pseudo
        ecn = seen.protocol == 6 and bool(head[start + 13] & CWR)
        fixed = seen.protocol == 6 and held.fixed_id
        data = bytes(head) + payload
        self.out.append(Delivery(data, why, "partial", count, len(held.payloads[0]), fixed, ecn, tuple(held.origins)))
