"""From the lists of frames for each port to the ports: what a port cannot carry is made fit first.

The usual frame goes as it is. The others are put aside, sharing their bytes: a tag that stands beside the frame is put
into it, super-frames are cut (GSO), partial checksums completed, fragments gathered, each only where this port needs it.
"""

import numpy as np

from pktpath.batch import CHECKSUM_PARTIAL, FRAGS, FRAMES, copy_descriptor, hold_frame, release
from pktpath.features import Feature
from pktpath.jit import call_stage, inlined, opened, stage
from pktpath.nic.clock import monotonic
from pktpath.offload.gso import gso_segment
from pktpath.offload.gso_plan import carries, completes_checksum, is_super
from pktpath.path.live_mirror import WIRE_OUT, wanted, watch_listed
from pktpath.path.live_types import FIT, LIST, Stages, Tally, batch_at
from pktpath.port.live import MAX_BURST
from pktpath.switch.datapath import MAX_PORTS, Count
from pktpath.switch.rewrite_vlan import insert_tag
from pktpath.wire import ethernet

_SG = int(Feature.SG)
_HANDED, _CUT, _TX, _TX_BYTES = int(Count.HANDED), int(Count.CUT), int(Count.TX), int(Count.TX_BYTES)
_TX_DROPPED, _UNSENDABLE, _DROP_NO_PORT = int(Count.TX_DROPPED), int(Count.UNSENDABLE), int(Count.DROP_NO_PORT)
_SEND, _TRANSMIT = int(Stages.SEND), int(Stages.TRANSMIT)
_TX_PACKETS, _TX_BATCHES = int(Tally.TX_PACKETS), int(Tally.TX_BATCHES)


@inlined
def output(worker, ports, in_port, i, port):
    """Put frame `i` on the list of a port; False if the list is full and must be sent first."""
    if port >= MAX_PORTS or not ports[port].up or worker.tx[port, 0] < 0:
        worker.counts[in_port, _DROP_NO_PORT] += 1
        return True
    used = worker.listed[port]
    if used == LIST:
        return False
    if used == 0:
        touched = worker.touched[MAX_PORTS]
        worker.touched[touched] = port
        worker.touched[MAX_PORTS] = touched + 1
    worker.lists[port, used] = i
    worker.listed[port] = used + 1
    return True


@inlined
def _sendable(batch, i, features, longest):
    """Whether a port with these features takes frame `i` as it is."""
    frame = batch.frames[i]
    if frame.vlan_proto != 0 or (frame.frag_count > 0 and not features & _SG):
        return False
    if frame.gso_size > 0 and is_super(batch, i):
        return carries(batch, i, features) and np.int64(frame.payload_offset) + frame.gso_size <= longest
    if frame.frame_len > longest:
        return False
    return frame.ip_summed != CHECKSUM_PARTIAL or completes_checksum(np.int64(frame.network), features)


@inlined
def send_lists(shared, worker, which):
    """Send what stands on the lists of all ports, frames of one batch; the batch keeps them."""
    for nth in range(worker.touched[MAX_PORTS]):
        port = worker.touched[nth]
        call_stage(worker.calls[_SEND], shared, port, which, 0, 0)
        worker.listed[port] = 0
    worker.touched[MAX_PORTS] = 0


@stage
def send(shared, port, which, _c, _d):
    """Send what stands on the list of one port."""
    parts = opened(shared)
    worker, ports = opened(parts.worker), opened(parts.ports)
    batch = batch_at(parts, which)
    features = ports[port].features
    longest = ports[port].mtu + ethernet.LENGTH + ethernet.TAG_LENGTH
    order = worker.lists[port]
    listed = worker.listed[port]
    worker.counts[port, _HANDED] += listed
    sendable = True
    for nth in range(listed):
        sendable &= _sendable(batch, order[nth], features, longest)
    mirror = opened(parts.mirror)
    if sendable:
        _transmit(shared, worker, mirror, port, which, batch, order, listed)
        return np.int64(0)
    staged, fit = opened(parts.staged), opened(parts.fit)
    worker.counts[port, _UNSENDABLE] += _stage(staged, batch, order, listed)
    first = np.int64(0)
    while staged.used[FRAMES] > 0:
        before = first
        first = gso_segment(staged, first, fit, features, worker.rules)
        if staged.used[FRAMES] > 0 and first == before and fit.used[FRAMES] == 0:
            # Not even one frame finds chunks: what is left cannot go.
            worker.counts[port, _UNSENDABLE] += staged.used[FRAMES] - first
            release(staged)
        made = fit.used[FRAMES]
        worker.counts[port, _CUT] += made - (first - before)
        kept = np.int64(0)
        for i in range(made):
            if _sendable(fit, i, features, longest):
                worker.kept[kept] = i
                kept += 1
        worker.counts[port, _UNSENDABLE] += made - kept
        _transmit(shared, worker, mirror, port, FIT, fit, worker.kept, kept)
        release(fit)
    return np.int64(0)


@inlined
def _transmit(shared, worker, mirror, port, which, batch, order, count):
    counts = worker.counts[port]
    done = np.int64(0)
    while done < count:
        burst = min(count - done, MAX_BURST)
        sent = call_stage(worker.calls[_TRANSMIT], shared, port, which, done, done + burst)
        size = np.int64(0)
        for nth in range(done, done + sent):
            size += batch.frames[order[nth]].frame_len
        if wanted(mirror, WIRE_OUT):
            watch_listed(mirror, batch, order, done, done + sent, port, monotonic(worker.timespec))
        counts[_TX] += sent
        counts[_TX_BYTES] += size
        worker.tally[_TX_PACKETS] += sent
        worker.tally[_TX_BATCHES] += 1
        done += sent
        if sent < burst:
            counts[_TX_DROPPED] += count - done
            return


@inlined
def _stage(staged, batch, order, listed):
    """Let the frames of a list stand in `staged`, sharing every byte but tags; return how many found no room."""
    staged.used[FRAMES] = 0
    staged.used[FRAGS] = 0
    for nth in range(listed):
        i = order[nth]
        j = staged.used[FRAMES]
        rows = staged.used[FRAGS]
        count = np.int64(batch.frames[i].frag_count)
        # Two rows more: a tag may split the head.
        if rows + count + 2 > len(staged.frag_addr):
            return listed - nth
        hold_frame(batch, i)
        copy_descriptor(batch, i, staged, j)
        staged.frames[j].frag_first = rows
        first = np.int64(batch.frames[i].frag_first)
        for row in range(count):
            staged.frag_addr[rows + row] = batch.frag_addr[first + row]
            staged.frag_len[rows + row] = batch.frag_len[first + row]
            staged.frag_chunk[rows + row] = batch.frag_chunk[first + row]
            staged.frag_origin[rows + row] = batch.frag_origin[first + row]
        staged.used[FRAMES] = j + 1
        staged.used[FRAGS] = rows + count
        if staged.frames[j].vlan_proto != 0:
            # Without memory the tag stays beside the frame, which is then not sendable.
            insert_tag(staged, j)
    return np.int64(0)
