"""The table of AF_XDP queues: one record each."""

from pktpath.port.rows import row_type

CHUNK_BITS = 11
CHUNK = 1 << CHUNK_BITS
PIECES = 16
"""Descriptors of one frame at most."""
RINGS = ("rx", "tx", "fill", "done")
COUNTERS = ("rx_packets", "rx_bytes", "rx_dropped", "rx_sampled", "rx_unfinished", "tx_packets", "tx_bytes", "tx_errors",
            "tx_copied", "tx_zero_copy", "kicks")  # fmt: skip
"""rx_dropped: frames in more pieces than a batch had room for. rx_sampled, rx_unfinished: TCP and UDP frames looked at, and
those whose checksum field held the sum of the pseudo-header only. tx_packets: frames handed to the kernel; tx_errors: those
that it said it dropped, and those too long to be sent. kicks: system calls."""
XDP_ROW = row_type(
    "fd",
    "packet",  # 1: a packet socket that only sends
    *(f"{ring}_{what}" for ring in RINGS for what in ("producer", "consumer", "flags", "entries")),  # addresses in the process
    *(f"{ring}_next" for ring in RINGS),  # the index that is ours: 32 bits
    "mask",  # entries of a ring, less one
    "start",  # of the UMEM, in `pool.mem`
    "first_chunk",  # number of its first chunk
    "chunks",
    "lent",  # address of one byte a chunk: it is in the kernel's hands to be filled
    "sending",  # address of one byte a chunk: how often it is in the kernel's hands to be sent
    "fill_target",  # chunks that should be lent, of `lent_count` that are
    "lent_count",
    "sending_count",
    "most",  # bytes of a frame at most
    "pieces",  # descriptors of a frame at most
    "zero_copy",  # the driver's, not ours
    counters=COUNTERS,
)
"""One queue: an AF_XDP socket with four rings, or (`packet`) a packet socket that only sends."""
