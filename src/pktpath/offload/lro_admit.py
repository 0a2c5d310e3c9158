"""Which frames LRO takes: what a driver hands it, and the list of checks of `lro_tcp_ip_check`.

A frame that no driver would hand over *passes*: it is delivered at once, and what is held of its flow
stays held, so it overtakes it. One that a check refuses ends the session of its flow first.
"""

import numpy as np

from pktpath.batch import CHECKSUM_BAD, CHECKSUM_NONE, CHECKSUM_PARTIAL, CHECKSUM_UNNECESSARY
from pktpath.jit import inlined
from pktpath.offload.checksum import PARTIAL_NO_LENGTH, verify_frame
from pktpath.offload.gro_admit import fragment_reason
from pktpath.offload.reason import Reason
from pktpath.wire import ipv4, parse, tcp
from pktpath.wire.load import load8, load16, load32

_NONE, _NOT_IP, _MALFORMED, _CUT_BY_SNAPLEN = (
    int(reason) for reason in (Reason.NONE, Reason.NOT_IP, Reason.MALFORMED, Reason.CUT_BY_SNAPLEN)
)
_NOT_FOR_LRO, _SUPER_FRAME, _BAD_IP_CHECKSUM = (
    int(reason) for reason in (Reason.NOT_FOR_LRO, Reason.SUPER_FRAME, Reason.BAD_IP_CHECKSUM)
)
_BAD_CHECKSUM, _PARTIAL_CHECKSUM, _LENGTH_MISMATCH, _IP_OPTIONS = (
    int(reason) for reason in (Reason.BAD_CHECKSUM, Reason.PARTIAL_CHECKSUM, Reason.LENGTH_MISMATCH, Reason.IP_OPTIONS)
)
_SYN, _RST, _FIN, _URG, _CWR = (int(reason) for reason in (Reason.SYN, Reason.RST, Reason.FIN, Reason.URG, Reason.CWR))
_ECE, _NO_ACK, _EMPTY, _CE = (int(reason) for reason in (Reason.ECE, Reason.NO_ACK, Reason.EMPTY, Reason.CE))
_OTHER_OPTIONS, _TIMESTAMP_BACK, _NO_TIMESTAMP_ECHO = (
    int(reason) for reason in (Reason.OTHER_OPTIONS, Reason.TIMESTAMP_BACK, Reason.NO_TIMESTAMP_ECHO)
)

_REFUSED_FLAGS = tcp.CWR | tcp.ECE | tcp.URG | tcp.RST | tcp.SYN | tcp.FIN


@inlined
def driver_refusal(batch, i, trust_partial):
    """Return 0 where a driver hands frame `i` to LRO, else the reason why not; verify its checksum if nobody has.

    It hands over whole TCP packets over IPv4 with checksums that its device found right.
    """
    frame = batch.frames[i]
    shape = np.int64(frame.shape_flags)
    if frame.network == 0:
        return _MALFORMED if shape & parse.MALFORMED else _NOT_IP
    if frame.network != 4 or frame.protocol != tcp.PROTOCOL:
        return _NOT_FOR_LRO
    if frame.wire_len > frame.frame_len:
        return _CUT_BY_SNAPLEN
    if shape & parse.FRAGMENT:
        return fragment_reason(batch, i)
    if shape & parse.MALFORMED or frame.transport_offset == 0:
        return _MALFORMED
    if shape & parse.BAD_IP_CHECKSUM:
        return _BAD_IP_CHECKSUM
    if frame.parts != 0:
        return _SUPER_FRAME
    if frame.ip_summed == CHECKSUM_NONE and verify_frame(batch, i) == PARTIAL_NO_LENGTH:
        frame.ip_summed = CHECKSUM_BAD
    summed = frame.ip_summed
    if summed == CHECKSUM_UNNECESSARY or (summed == CHECKSUM_PARTIAL and trust_partial):
        return _NONE
    if summed == CHECKSUM_BAD:
        return _BAD_CHECKSUM
    # What is still not judged is shorter than its IP length.
    return _PARTIAL_CHECKSUM if summed == CHECKSUM_PARTIAL else _LENGTH_MISMATCH


@inlined
def segment_refusal(batch, i, tsval):
    """Return 0 where frame `i`, which a driver handed over, may be merged, else the reason why not.

    `tsval` is that of the first segment of its session; a new one has none to look back to: -1.
    """
    frame = batch.frames[i]
    mem = batch.pool.mem
    network = frame.head_addr + np.int64(frame.network_offset)
    at = frame.head_addr + np.int64(frame.transport_offset)
    if load16(mem, network + ipv4.TOTAL_LENGTH) != frame.frame_len - frame.network_offset:
        return _LENGTH_MISMATCH
    if frame.shape_flags & parse.IP_OPTIONS:
        return _IP_OPTIONS
    flags = load16(mem, at + tcp.FLAG_WORD)
    if flags & (_REFUSED_FLAGS | tcp.ACK) != tcp.ACK:
        return _flag_refusal(flags)
    if frame.payload_len == 0:
        return _EMPTY
    if load8(mem, network + ipv4.TOS) & ipv4.ECN_CE == ipv4.ECN_CE:
        return _CE
    header = np.int64(frame.payload_offset) - frame.transport_offset
    if header == tcp.LENGTH:
        return _NONE
    if header != tcp.STAMPED_LENGTH or load32(mem, at + tcp.STAMP) != tcp.STAMP_WORD:
        return _OTHER_OPTIONS
    if tsval >= 0 and (load32(mem, at + tcp.TSVAL) - tsval) & 0x80000000:
        return _TIMESTAMP_BACK
    return _NO_TIMESTAMP_ECHO if load32(mem, at + tcp.TSECR) == 0 else _NONE


@inlined
def _flag_refusal(flags):
    """Return the reason for flags that LRO does not take, the one that tells most first."""
    if flags & tcp.SYN:
        return _SYN
    if flags & tcp.RST:
        return _RST
    if flags & tcp.URG:
        return _URG
    if flags & tcp.FIN:
        return _FIN
    if flags & tcp.CWR:
        return _CWR
    return _ECE if flags & tcp.ECE else _NO_ACK


@inlined
def stamped(frame):
    """Whether a segment that `segment_refusal` accepted has timestamps."""
    return frame.payload_offset - frame.transport_offset == tcp.STAMPED_LENGTH
