"""Which queue a frame goes to: the hash of `offload.rss` under the card's indirection table."""

from pktpath.jit import kernel
from pktpath.offload.rss import queue_of, rss_hash


@kernel
def steer(batch, first, last, rss, queue_of_frame, keeps_hash):
    """Hash frames `first` to `last` (excluded) and fill `queue_of_frame`; without receive hashing the card keeps the hash."""
    rss_hash(batch, first, last, rss)
    for i in range(first, last):
        queue_of_frame[i] = queue_of(rss, batch.frames[i].hash)
        if not keeps_hash:
            batch.frames[i].hash = 0
