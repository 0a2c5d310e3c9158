"""What a replay counted, as `ethtool -S` names it: drivers choose their names, these are the usual ones.

rx_packets and rx_bytes are what was taken out of the rings, rx_packets_phy what came over the wire.
"""

from pktpath.path.replay_types import QueueReport, Replayed


def statistics(done: Replayed) -> dict[str, int]:
    """Return counters of the card by name: of all queues, then of each."""
    found = {
        "rx_packets": sum(_taken(queue) for queue in done.queues),
        "rx_bytes": done.bytes,
        "rx_packets_phy": done.frames,
        "rx_missed_errors": done.drops["ring"],
        "rx_no_buffer": done.drops["no_buffer"],
        "rx_interrupts": done.interrupts,
        "rx_polls": done.polls,
        **{f"rx_lro_{name}": count for name, count in done.lro.items()},
    }
    for number, queue in enumerate(done.queues):
        found |= {
            f"rx_queue_{number}_packets": _taken(queue),
            f"rx_queue_{number}_bytes": queue.bytes,
            f"rx_queue_{number}_drops": queue.dropped + queue.no_buffer,
            f"rx_queue_{number}_interrupts": queue.interrupts,
            f"rx_queue_{number}_polls": queue.polls,
            f"rx_queue_{number}_empty_polls": queue.empty_polls,
        }
    return found


def _taken(queue: QueueReport) -> int:
    return queue.frames - queue.dropped - queue.no_buffer - queue.waiting
