"""The way of `pktpath replay`: what a card and a host would do with a capture.

capture ─ rss ─ rings ─ interrupts ─ polls ─ lro | gro ─ stack

The capture's timestamps are the clock and `Costs` the host's speed; nothing is measured, so the same capture
and the same options give the same result.
"""

from collections.abc import Callable

import numpy as np

from pktpath.batch import FRAMES, Batch, release
from pktpath.features import Feature
from pktpath.nic.host import make_card, make_host
from pktpath.nic.napi import napi_enable
from pktpath.offload.rss import make_rss
from pktpath.offload.rss_key import equal_table
from pktpath.path.host_loop import ARRIVALS_WANTED, IDLE, run
from pktpath.path.loss import count_losses, make_counts
from pktpath.path.receive import Receiver, Switches, make_receiver
from pktpath.path.replay_clock import CaptureClock
from pktpath.path.replay_report import report
from pktpath.path.replay_types import Replayed, ReplayOptions
from pktpath.path.steer import steer
from pktpath.pool import make_pool
from pktpath.port.capture import CaptureError, open_capture

_BATCH = 4096
_GROUP = 8
_MOST_BUFFERS = 1 << 18
_LARGE_BUFFERS = 1024
_RFS_FLOWS = 32768
_MTU_FRAME = 1522


def replay_capture(
    source: str,
    options: ReplayOptions,
    *,
    expression: str = "",
    progress: Callable[[int], None] = lambda _offset: None,
) -> Replayed:
    """Send a capture through the receive path of a host.

    Args:
        source: file name, or "-" for standard input.
        options: card, host and speed.
        expression: pcap-filter expression; other frames do not arrive.
        progress: called with the offset reached in the input, in bytes.

    Raises:
        CaptureError: the capture cannot be opened, or holds no frame that can be read.

    """
    replay = Replay(options)
    with open_capture(source, filter=expression or None, batch_size=_BATCH) as reader:
        for item in reader.kept_items():
            if isinstance(item, Batch):
                replay.arrive(item)
                progress(reader.bytes_read)
        if reader.damage and reader.frames == 0:
            raise CaptureError(reader.file, reader.damage.removeprefix(f"{reader.file}: "))
        return replay.finish(list(reader.warnings), damaged=bool(reader.damage))


class Replay:
    """A receiver fed from batches with timestamps of a capture."""

    def __init__(self, options: ReplayOptions, *, sink: Callable[[Batch], None] | None = None) -> None:
        """Make a card and a host; `sink` is shown each batch of frames that the stack was given."""
        settings = options.settings
        cpus = settings.queues if options.cpus is None else options.cpus
        features = settings.features.active
        self.options = options
        self._sink = sink
        card = make_card(settings)
        host = make_host(
            settings,
            cpus,
            limits=options.limits,
            costs=options.costs,
            weight=options.weight,
            rps=options.rps,
            rfs_flows=_RFS_FLOWS if options.rfs else 0,
        )
        host.napis.gro_flush_timeout[: settings.queues] = settings.gro_flush_timeout
        host.napis.defer_hard_irqs[: settings.queues] = settings.napi_defer_hard_irqs
        for number in range(len(host.napis)):
            napi_enable(host.napis[number], settings.threaded and number < settings.queues)
        buffers = min(settings.queues * (settings.rx_ring + 4096) + 16384, _MOST_BUFFERS)
        pool = make_pool(header=65536, normal=buffers, large=_LARGE_BUFFERS)
        switches = Switches(
            features=int(features),
            lro=bool(features & Feature.LRO),
            gro=bool(features & Feature.GRO),
            verify=not features & Feature.RXCSUM,
            netif_rx=options.netif_rx,
            copy=True,
            grain=1,
            group=_GROUP,
            busy_poll=options.busy_poll,
        )
        on_the_way = settings.queues * (settings.rx_ring + 4096) + 8192
        self.receiver: Receiver = make_receiver(pool, card, host, switches, originals=on_the_way)
        self._losses = make_counts()
        table = settings.indirection or equal_table(settings.queues)
        self._rss = make_rss(settings.key, table, settings.hash_fields, settings.hash_inner)
        self._keeps_hash = bool(features & Feature.RXHASH) or options.rps or options.rfs
        self._queue = np.zeros(_BATCH, np.int64)
        self._clock = CaptureClock(options.speed)
        self._cut = 0
        self._long = 0

    def arrive(self, batch: Batch) -> None:
        """Let the frames of a batch arrive at their times; it is empty afterwards."""
        count = int(batch.used[FRAMES])
        if count == 0:
            return
        if count > len(self._queue):
            self._queue = np.zeros(count, np.int64)
        self._long += int((batch.wire_len[:count] > _MTU_FRAME).sum())
        self._cut += int((batch.wire_len[:count] > batch.frame_len[:count]).sum())
        batch.timestamp[:count] = self._clock.tell(batch.timestamp[:count])
        steer(batch, 0, count, self._rss, self._queue, self._keeps_hash)
        first = 0
        why = -1
        while why != ARRIVALS_WANTED:
            first, why = run(self.receiver, batch, first, count, self._queue, False)
            self._empty_stack()
        batch.used[FRAMES] = 0

    def finish(self, warnings: list[str] | None = None, *, damaged: bool = False) -> Replayed:
        """Let the CPUs do what is left and tell what happened."""
        nothing = self.receiver.stack
        why = -1
        while why != IDLE:
            _, why = run(self.receiver, nothing, 0, 0, self._queue, True)
            self._empty_stack()
        lines = [*(warnings or []), *self._clock.lies()]
        if self._cut:
            lines.append(f"{self._cut} frames were cut by a snaplen: they do not merge, and cut headers hide their flow")
        if self._long and warnings is not None:  # of a capture: who makes traffic knows its size
            lines.append(
                f"{self._long} frames are longer than an MTU of 1500 allows on a wire: "
                "where they are super-frames of the sender, cut them first with pktpath segment"
            )
        return report(self.receiver, self._losses, self._clock.last, lines, damaged=damaged)

    def _empty_stack(self) -> None:
        count_losses(self.receiver.originals, self.receiver.stack, 0, self._losses)
        if self._sink is not None:
            self._sink(self.receiver.stack)
        release(self.receiver.stack)
