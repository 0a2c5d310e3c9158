"""Frames in a batch, for the tests of the switch's stages."""

import numpy as np

from pktpath.batch import FRAMES, frame_bytes, make_batch
from pktpath.pool import HEADROOM, NO_CHUNK, chunk_address, chunk_alloc, make_pool
from pktpath.wire.parse import parse

WINDOW = 1 << 20
PORT = 7


def make_room(frames=64, header=64, normal=32, fragments=None):
    """Return an empty batch over a pool with a window."""
    return make_batch(make_pool(window=WINDOW, header=header, normal=normal, large=2), frames, fragments)


def add_frame(batch, data, *, tag=None, chunk_class=None, head=None, gso=0):
    """Append a frame and parse it; return its index.

    `head` bytes stand in the linear part, the rest in one fragment of the window. The linear part lies in a chunk of
    `chunk_class`, or read-only in the window.
    """
    i = int(batch.used[FRAMES])
    mem = batch.pool.mem
    head = len(data) if head is None else head
    room = WINDOW // len(batch.frames)
    at = i * room
    mem[at : at + len(data)] = np.frombuffer(data, np.uint8)
    frame = batch.frames[i]
    for name in frame.dtype.names:
        frame[name] = 0
    frame.head_chunk, frame.head_addr = NO_CHUNK, at
    if chunk_class is not None:
        frame.head_chunk = chunk_alloc(batch.pool, chunk_class)
        frame.head_addr = chunk_address(batch.pool, int(frame.head_chunk)) + HEADROOM
        mem[frame.head_addr : frame.head_addr + head] = np.frombuffer(data[:head], np.uint8)
    frame.head_len, frame.frame_len, frame.wire_len = head, len(data), len(data)
    frame.frag_first = batch.used[1]
    if head < len(data):
        row = int(batch.used[1])
        batch.frag_addr[row], batch.frag_len[row], batch.frag_chunk[row] = at + head, len(data) - head, NO_CHUNK
        frame.frag_count = 1
        batch.used[1] += 1
    frame.link, frame.in_port, frame.payload_sum, frame.gso_size = 1, PORT, -1, gso
    frame.vlan_proto, frame.vlan_tci = tag or (0, 0)
    batch.used[FRAMES] = i + 1
    parse(batch, i, i + 1)
    return i


def bytes_of(batch, i):
    """Bytes of a frame as they would stand on the wire: a tag beside it goes in."""
    data = frame_bytes(batch, i)
    if batch.vlan_proto[i]:
        data = data[:12] + int(batch.vlan_proto[i]).to_bytes(2) + int(batch.vlan_tci[i]).to_bytes(2) + data[12:]
    return data
