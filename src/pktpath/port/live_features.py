"""What live ports are able to do, in the words of `features`, where several of them say the same."""

from pktpath.features import Feature

RECEIVES = Feature.GRO | Feature.GRO_UDP_FWD
"""What the path does for every port on receive."""
COPIES = Feature.SG | Feature.GSO
"""A port that copies gathers pieces by itself; GSO is the path's."""
SUPER_FRAMES = (
    COPIES | Feature.HW_CSUM | Feature.TSO | Feature.TSO6 | Feature.TSO_ECN | Feature.TSO_ACCECN | Feature.TSO_MANGLEID
    | Feature.GSO_UDP_L4 | Feature.GSO_UDP
)  # fmt: skip
"""What a port takes that never looks at a frame."""
VIRTIO = COPIES | Feature.HW_CSUM | Feature.TSO | Feature.TSO6 | Feature.TSO_ECN | Feature.GSO_UDP_L4
"""What a virtio_net_hdr can tell a kernel."""
