"""What differs between kernels, as a value (net/core/gro.c, net/ipv4/tcp_offload.c, af_inet.c).

Only 6.18 is judged by a running kernel here; 6.12 and 7.0 follow the kernel's selftest table.
"""

from typing import NamedTuple

from pktpath.wire import tcp


class KernelRules(NamedTuple):
    """Receive and segmentation rules of one kernel version, in a form compiled code takes."""

    ignored_flags: int
    """TCP flags (bits of the 16-bit flag word) that may differ between segments of one frame."""
    cwr_flushes: bool
    """A frame with CWR never merges into a held one (until 7.0)."""
    fixed_id_needs_df: bool
    """A repeated IP ID is a train only where DF is set (until 6.18)."""
    accurate_ecn: bool
    """CWR is copied to every segment and named SKB_GSO_TCP_ACCECN (since 6.15)."""
    gro_max_size: int = 65536
    """A merged frame stays below this many bytes from its network header on."""
    udp_segments: int = 64
    """UDP_GRO_CNT_MAX."""


RULES = {
    "6.12": KernelRules(tcp.FIN | tcp.PSH | tcp.CWR, cwr_flushes=True, fixed_id_needs_df=True, accurate_ecn=False),
    "6.18": KernelRules(tcp.FIN | tcp.PSH, cwr_flushes=True, fixed_id_needs_df=False, accurate_ecn=True),
    "7.0": KernelRules(tcp.FIN | tcp.PSH, cwr_flushes=False, fixed_id_needs_df=False, accurate_ecn=True),
}
DEFAULT_RULES = "6.18"

KERNEL_BUCKETS, KERNEL_BUCKET_DEPTH = 8, 8
"""GRO_HASH_BUCKETS and MAX_GRO_SKBS."""
