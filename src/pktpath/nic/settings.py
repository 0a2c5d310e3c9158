"""What can be set on one of pktpath's own cards: the nouns of `ethtool`, as one value.

Source: ethtool(8), Documentation/networking/scaling.rst, Documentation/networking/napi.rst.
"""

from dataclasses import dataclass, field

from pktpath.features import PORT_FEATURES, FeatureState
from pktpath.offload.rss_key import DEFAULT_KEY, HASH_FIELDS, INDIRECTION_SIZE, MOST_QUEUES

__all__ = ["DEFAULT_KEY", "HASH_FIELDS", "INDIRECTION_SIZE", "MOST_QUEUES", "MOST_RING", "NicSettings"]


MOST_RING = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class NicSettings:
    """A card as `ethtool` sees it."""

    features: FeatureState = PORT_FEATURES
    queues: int = 8
    """Combined channels (`-l`, `-L`)."""
    rx_ring: int = 1024
    """Descriptors in each receive ring (`-g`, `-G`)."""
    rx_usecs: int = 0
    """Microseconds that an interrupt waits for more frames (`-c`, `-C`)."""
    rx_frames: int = 0
    """Frames that end this wait; 0 and 1 are the same when rx_usecs is 0: an interrupt a frame."""
    adaptive_rx: bool = False
    """The card chooses both by the load (dynamic interrupt moderation)."""
    key: bytes = DEFAULT_KEY
    """RSS hash key, 40 or 52 bytes."""
    indirection: tuple[int, ...] = ()
    """Queue of each hash value under the table's mask (`-x`, `-X`); empty: queues in turn."""
    hash_fields: dict[str, str] = field(default_factory=HASH_FIELDS.copy)
    hash_inner: bool = False
    """Hash the headers inside of VXLAN, Geneve, GRE and IP in IP."""
    gro_flush_timeout: int = 0
    """Nanoseconds (sysfs attribute of the device)."""
    napi_defer_hard_irqs: int = 0
    """Empty polls before interrupts are unmasked (sysfs attribute of the device)."""
    threaded: bool = False
    """Each NAPI instance is polled by a thread of its own (sysfs attribute of the device)."""
