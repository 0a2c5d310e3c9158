"""Why a frame was not merged or not cut, or why a merged frame ended: one enum for every place that says so.

The kernels store a member's number in `Batch.reason`, counters are indexed by it, `--why` prints its
word (`Reason.PSH.word` is "psh") and its sentence, and docs/reasons.md is generated from it.
"""

from enum import IntEnum
from typing import Self


class Reason(IntEnum):
    """A refusal or the end of a merged frame; the sentence says the rule."""

    sentence: str

    def __new__(cls, value: int, sentence: str) -> Self:
        """Make a member that is its number and knows its sentence."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.sentence = sentence
        return member

    @property
    def word(self) -> str:
        """The name as commands print it."""
        return self.name.lower()

    NONE = 0, "merged, or ended by the end of the poll"
    # What parsing alone decides: the frame passes at once, held data of its flow stays held.
    NOT_IP = 1, "neither IPv4 nor IPv6, or a link type that has no IP inside"
    MALFORMED = 2, "a header contradicts itself or ends too early"
    CUT_BY_SNAPLEN = 3, "the capture does not hold the whole frame"
    IP_OPTIONS = 4, "IPv4 options"
    IP_FRAGMENT = 5, "an IP fragment"
    BAD_IP_CHECKSUM = 6, "the IPv4 header checksum is wrong"
    LENGTH_MISMATCH = 7, "the IP length differs from the bytes present (padding, total length 0)"
    RESERVED_BIT = 8, "the reserved bit of the IPv4 header is set"
    OTHER_PROTOCOL = 9, "no receive offload exists for this transport protocol"
    UDP_OFF = 10, "rx-udp-gro-forwarding is off"
    SUPER_FRAME = 11, "already a super-frame"
    # The transport checksum.
    BAD_CHECKSUM = 12, "the TCP or UDP checksum is wrong"
    PARTIAL_CHECKSUM = 13, "the checksum was left to the device: captured at its sender"
    ZERO_CHECKSUM = 14, "UDP without a checksum"
    BAD_UDP_LENGTH = 15, "the UDP length differs from the bytes present, or no payload"
    # A frame that must be delivered at once: it ends what is held of its flow.
    EMPTY = 16, "no payload (a pure acknowledgment)"
    SYN = 17, "SYN is set"
    RST = 18, "RST is set"
    FIN = 19, "FIN is set"
    PSH = 20, "PSH is set"
    URG = 21, "URG is set"
    # A difference from the held frame: that one is completed, this one starts anew.
    CWR = 22, "CWR is set"
    FLAGS_DIFFER = 23, "TCP flags or header length differ"
    WINDOW_DIFFERS = 24, "the TCP window differs"
    ACK_DIFFERS = 25, "the acknowledgment number differs"
    OPTIONS_DIFFER = 26, "TCP options differ (timestamps too)"
    TTL_DIFFERS = 27, "TTL or hop limit differs"
    TOS_DIFFERS = 28, "TOS or traffic class differs (ECN too)"
    DF_DIFFERS = 29, "the don't-fragment bit differs"
    IP_ID = 30, "the IP ID neither repeats nor counts up by one, or repeats without DF where this kernel demands it"
    LONGER = 31, "longer than the segments before it"
    OUT_OF_SEQUENCE = 32, "the sequence number is not the next one"
    # Ends of a merged frame.
    SHORT = 33, "a segment shorter than gso_size ends the train"
    TOO_BIG = 34, "gro_max_size is reached"
    TOO_MANY_SEGMENTS = 35, "64 UDP segments are reached"
    EVICTED = 36, "its bucket was full and it was the oldest"
    NO_MEMORY = 37, "the pool or the output batch has no room for the merged header, or for the segments"
    ALONE = 38, "no neighbour of its flow in this poll"
    GRO_OFF = 39, "rx-gro is off"
    # IP fragments that were not put together; all of them pass as they are.
    BAD_FRAGMENT = 40, "an IP fragment without payload, or not the last one and no multiple of 8 bytes"
    DUPLICATE_FRAGMENT = 41, "an IP fragment that was already there"
    OVERLAPPING_FRAGMENT = 42, "IP fragments of its datagram overlap or disagree about its end"
    DATAGRAM_TOO_LONG = 43, "its IP fragments are longer than 65,535 bytes together"
    FRAGMENT_ECN = 44, "congestion was marked on one IP fragment, and another one cannot carry the mark"
    MISSING_FRAGMENT = 45, "an IP fragment of its datagram is not in this batch"
    FRAGMENT_TIMEOUT = 46, "its datagram was not whole after 30 s, 60 s for IPv6"
    TOO_MANY_DATAGRAMS = 47, "the table of datagrams is full"
    # Rules of LRO that GRO does not have.
    NOT_FOR_LRO = 48, "LRO takes TCP over IPv4 only"
    NO_DESCRIPTOR = 49, "every LRO descriptor holds another flow"
    NO_ACK = 50, "ACK is not set"
    ECE = 51, "ECE is set"
    CE = 52, "IP says that congestion was experienced (ECN CE)"
    OTHER_OPTIONS = 53, "TCP options other than NOP, NOP, timestamp"
    TIMESTAMP_BACK = 54, "TSval is before that of the held segment"
    NO_TIMESTAMP_ECHO = 55, "TSecr is 0"
    MAX_AGGREGATED = 56, "max_aggr segments are reached"
    NO_ROOM_FOR_MTU = 57, "another segment of the MTU, or this one, may not fit into 65,535 bytes of IP"


REASONS = len(Reason)
