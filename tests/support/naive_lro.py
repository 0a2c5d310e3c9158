"""LRO on `bytes`, as plainly as it can be said: the twin of the compiled kernel.

It shares no code with `pktpath.offload`; frames come and go in the form of the GRO twin, and it looks at link
headers as that one does.
"""

import struct
from dataclasses import dataclass, field
from typing import Any

from support.craft import word_sum
from support.naive_gro import Arrival, Delivery, NaiveGro, u16, u32

NOPS_AND_STAMP = bytes([1, 1, 8, 10])
FLAGS = (("syn", 0x02), ("rst", 0x04), ("urg", 0x20), ("fin", 0x01), ("cwr", 0x80), ("ece", 0x40))


@dataclass
class Segment:
    """A TCP packet over IPv4, cut apart."""

    frame: bytes
    number: int
    checked: str
    flow: Any
    ip: bytes
    tcp: bytes
    payload: bytes
    at: int
    """Where the IP header starts."""


@dataclass
class Session:
    """What is held of one flow."""

    segments: list[Segment] = field(default_factory=list)

    @property
    def payload(self) -> bytes:
        return b"".join(segment.payload for segment in self.segments)

    @property
    def next_seq(self) -> int:
        return (u32(self.segments[0].tcp, 4) + len(self.payload)) % 2**32


class NaiveLro:
    """One manager."""

    def __init__(self, max_desc: int = 8, max_aggr: int = 64, mtu: int = 1500, *, trust_partial: bool = False) -> None:
        self.sessions: list[Session | None] = [None] * max_desc
        self.max_aggr, self.mtu, self.trust = max_aggr, mtu, trust_partial
        self.aggregated = self.flushed = self.no_desc = 0
        self.out: list[Delivery] = []

    def receive(self, arrival: Arrival, number: int) -> None:
        """Take one frame; `number` names it."""
        found = self._hand_over(arrival, number)
        if isinstance(found, Delivery):
            self.out.append(found)
            return
        place = self._place(found)
        if place is None:
            self.no_desc += 1
            self._pass(found, "no_descriptor")
            return
        session = self.sessions[place]
        refusal = self._refusal(found, session)
        if refusal:
            if session:
                self._flush(place, refusal)
            self._pass(found, refusal)
            return
        self.aggregated += 1
        if session is None:
            self.sessions[place] = Session([found])
            return
        session.segments.append(found)
        first = session.segments[0]
        length = len(first.frame) - len(first.payload) + len(session.payload)
        if len(session.segments) >= self.max_aggr:
            self._flush(place, "max_aggregated")
        elif length - self._link_length(first) > 0xFFFF - self.mtu:
            self._flush(place, "no_room_for_mtu")

    def flush(self) -> list[Delivery]:
        """Flush all; return what was delivered since the last flush."""
        for place, session in enumerate(self.sessions):
            if session:
                self._flush(place, "none")
        out, self.out = self.out, []
        return out

    def flush_flow(self, arrival: Arrival) -> None:
        """Flush the session of the flow of a frame."""
        found = self._hand_over(arrival, -1)
        place = None if isinstance(found, Delivery) else self._place(found)
        if place is not None and self.sessions[place]:
            self._flush(place, "none")

    def _pass(self, segment: Segment, reason: str) -> None:
        self.out.append(Delivery(segment.frame, reason, segment.checked, origins=(segment.number,)))

    def _place(self, segment: Segment) -> int | None:
        places = [k for k, session in enumerate(self.sessions) if session and session.segments[0].flow == segment.flow]
        return (places + [k for k, session in enumerate(self.sessions) if session is None] + [None])[0]

    @staticmethod
    def _link_length(segment: Segment) -> int:
        return 14 if segment.flow[0] == "ETHERNET" else segment.at

    # What a driver does.

    def _hand_over(self, arrival: Arrival, number: int) -> Segment | Delivery:
        """Return a TCP packet whose checksums are right, or why there is none."""
        data = arrival.data
        kind, at = NaiveGro._link(arrival)

        def passes(reason: str, checked: str = arrival.checked) -> Delivery:
            return Delivery(data, reason, checked, origins=(number,))

        if kind < 0 or (kind == 4 and len(data) < at + (data[at] & 15) * 4):
            return passes("malformed")
        if kind == 0:
            return passes("not_ip")
        if kind == 6 or data[at + 9] != 6:
            return passes("not_for_lro")
        if arrival.wire_len > len(data):
            return passes("cut_by_snaplen")
        header, total = (data[at] & 15) * 4, u16(data, at + 2)
        if total == 0:  # left to the device: as long as the frame
            total = len(data) - at
        if total < header:
            return passes("malformed")
        if u16(data, at + 6) & 0x3FFF:
            return passes("ip_fragment")
        start, end = at + header, at + total
        if end < start + 20 or len(data) < start + 20:
            return passes("malformed")
        offset = (data[start + 12] >> 4) * 4
        if offset < 20 or start + offset > min(end, len(data)):
            return passes("malformed")
        if word_sum(data[at:start]) != 0xFFFF:
            return passes("bad_ip_checksum")
        if arrival.gso_size:
            return passes("super_frame")
        checked = arrival.checked
        if checked == "none" and end <= len(data):
            checked = self._check(data[at + 12 : at + 20], data[start:end])
        if checked == "bad":
            return passes("bad_checksum", checked)
        if checked == "partial" and not self.trust:
            return passes("partial_checksum", checked)
        if checked == "none":
            return passes("length_mismatch")
        tags = data[12:at] if arrival.link == "ETHERNET" else data[{"SLL": 14, "SLL2": 20}.get(arrival.link, at) : at]
        flow = (arrival.link, arrival.in_port, arrival.tag, tags, data[at + 12 : at + 20], data[start : start + 4])
        return Segment(data, number, checked, flow, data[at:start], data[start : start + offset], data[start + offset : end], at)

    @staticmethod
    def _check(addresses: bytes, segment: bytes) -> str:
        pseudo = addresses + struct.pack(">HH", 6, len(segment))
        if word_sum(pseudo + segment) == 0xFFFF:
            return "good"
        return "partial" if u16(segment, 16) == word_sum(pseudo) else "bad"

    # The list of checks.

    def _refusal(self, new: Segment, session: Session | None) -> str:
        if session and u32(new.tcp, 4) != session.next_seq:
            return "out_of_sequence"
        if u16(new.ip, 2) != len(new.frame) - new.at:
            return "length_mismatch"
        if len(new.ip) > 20:
            return "ip_options"
        flags = new.tcp[13]
        for name, bit in FLAGS:
            if flags & bit:
                return name
        if not flags & 0x10:
            return "no_ack"
        if not new.payload:
            return "empty"
        if new.ip[1] & 3 == 3:
            return "ce"
        if len(new.tcp) not in (20, 32):
            return "other_options"
        if len(new.tcp) == 32:
            if new.tcp[20:24] != NOPS_AND_STAMP:
                return "other_options"
            if session:
                first = session.segments[0].tcp
                value = u32(first, 24) if len(first) == 32 else 0
                if (u32(new.tcp, 24) - value) % 2**32 >= 2**31:
                    return "timestamp_back"
            if u32(new.tcp, 28) == 0:
                return "no_timestamp_echo"
        if session:
            first = session.segments[0]
            if len(first.ip) + len(first.tcp) + len(session.payload) + len(new.payload) > 0xFFFF:
                return "no_room_for_mtu"
        return ""

    # What leaves.

    def _flush(self, place: int, why: str) -> None:
        session = self.sessions[place]
        assert session is not None
        self.sessions[place] = None
        self.flushed += 1
        first, last = session.segments[0], session.segments[-1]
        if first is last:
            self._pass(first, "alone")
            return
        ip, tcp = bytearray(first.ip), bytearray(first.tcp)
        ip[2:4] = (40 + len(tcp) - 20 + len(session.payload)).to_bytes(2)
        ip[10:12] = b"\0\0"
        ip[10:12] = (~word_sum(bytes(ip)) & 0xFFFF).to_bytes(2)
        tcp[8:12], tcp[14:16] = last.tcp[8:12], last.tcp[14:16]
        echoes = [segment.tcp[28:32] for segment in session.segments if len(segment.tcp) == 32]
        if len(tcp) == 32:
            tcp[28:32] = echoes[-1]
        pseudo = word_sum(bytes(ip[12:20]) + struct.pack(">HH", 6, len(tcp) + len(session.payload)))
        tcp[16:18] = pseudo.to_bytes(2)
        data = first.frame[: first.at] + bytes(ip) + bytes(tcp) + session.payload
        numbers = tuple(segment.number for segment in session.segments)
        size = max(len(segment.payload) for segment in session.segments)
        self.out.append(Delivery(data, why, "partial", len(numbers), size, origins=numbers))
