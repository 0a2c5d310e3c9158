"""What a descriptor says of a frame that came just now, and that nobody has looked at."""

from pktpath.batch import CHECKSUM_NONE
from pktpath.jit import inlined
from pktpath.wire.link import ETHERNET


@inlined
def no_offload(frame):
    """Say that nothing is known of the checksum, and that the frame is one segment."""
    frame.ip_summed = CHECKSUM_NONE
    frame.csum_start = 0
    frame.csum_offset = 0
    frame.gso_type = 0
    frame.gso_size = 0
    frame.gso_segs = 1


@inlined
def fresh_frame(frame, in_port, i):
    """Say what a live port says of every frame: Ethernet, frame `i` of its batch, without a time, a hash, a tag or options.

    Where its bytes lie, and what `no_offload` says, is left to the port.
    """
    frame.hash = 0
    frame.in_port = in_port
    frame.link = ETHERNET
    frame.reason = 0
    frame.timestamp = 0
    frame.ticks = 0
    frame.option_len = 0
    frame.payload_sum = -1
    frame.origin = i
    frame.vlan_tci = 0
    frame.vlan_proto = 0
