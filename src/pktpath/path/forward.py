"""The way of a frame through a host: receive offload, the stack, segmentation, the device.

Enters: parsed batches of a port. Leaves: frames as they are on the wire again. Between the steps
the batches can be looked at: `above` is what the stack sees, `below` what the driver is handed,
`wire` what the device sends. Each step empties the batch before it.
"""

from typing import NamedTuple

from pktpath.batch import FRAMES, Batch, make_batch
from pktpath.features import Feature
from pktpath.offload.gro import POLL, gro_polls, poll_numbers
from pktpath.offload.gro_table import GroTable, make_gro_table
from pktpath.offload.gso import gso_segment
from pktpath.offload.rules import DEFAULT_RULES, RULES, KernelRules
from pktpath.pool import Pool

FLUSH_TIMEOUT_NS = 100_000


class Way(NamedTuple):
    """The stations of one way and what they need."""

    above: Batch
    """What the stack sees."""
    below: Batch
    """What the driver is handed."""
    wire: Batch
    """What the device sends."""
    table: GroTable
    features: Feature
    """What is switched on, of the port received from and of the port sent to."""
    rules: KernelRules


def make_way(pool: Pool, frames: int, features: Feature, rules: KernelRules = RULES[DEFAULT_RULES]) -> Way:
    """Return a way for batches of up to `frames` wire frames over `pool`.

    The pool needs three header chunks for each frame; without SG, a normal chunk for each too.
    """
    above, below, wire = (make_batch(pool, frames, 4 * frames) for _ in range(3))
    return Way(above, below, wire, make_gro_table(frames=frames), features, rules)


def receive(way: Way, batch: Batch, poll: int = POLL) -> None:
    """Move a batch to the stack, as NAPI polls of `poll` frames."""
    numbers = poll_numbers(way.above)
    gro_polls(batch, way.above, way.table, way.rules, int(way.features), False, poll, FLUSH_TIMEOUT_NS, numbers)


def send(way: Way, batch: Batch | None = None) -> None:
    """Hand what the stack has, or a batch of its own making, to the driver; cut what the port cannot carry."""
    _segment(way, way.above if batch is None else batch, way.below, way.features)


def transmit(way: Way) -> None:
    """Let the device do what it was left: cut, complete checksums, put on the wire."""
    _segment(way, way.below, way.wire, Feature.SG)


def _segment(way: Way, source: Batch, target: Batch, features: Feature) -> None:
    frames = int(source.used[FRAMES])
    done = int(gso_segment(source, 0, target, int(features), way.rules))
    if done < frames:
        message = f"frame {done} of {frames} found no chunk: the pool of this way is too small"
        raise MemoryError(message)
