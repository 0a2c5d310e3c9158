"""Damaged and forged undo records through the stages of `segment`, frames and options each before a page nobody may touch.

Run as a program, because a load beyond the end kills the process: `python -m support.fuzz_undo ROUNDS SEED`
prints how often each outcome came, as JSON.
"""

import json
import random
import struct
import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from pktpath.batch import FRAMES, Batch, frame_bytes, make_batch
from pktpath.path import undo
from pktpath.path.coalesce import Options, coalesce_capture
from pktpath.path.segment import _Segmenter
from pktpath.path.segment_cut import Wishes
from pktpath.path.undo_read import whole_groups
from pktpath.pool import NO_CHUNK
from pktpath.port.capture import Interface, open_capture
from pktpath.wire.parse import parse
from support.captures import frames_of
from support.gso_frames import assert_all_free
from support.gso_guard import SLOT, SLOTS, guarded_pool
from support.wild_captures import wild_pcapng

PER_BATCH = SLOTS // 2
HUGE = (0, 1, 2, 3, 4, 8, 15, 16, 127, 128, 1448, 65535, 65536, 2**31 - 1, 2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1)


def number(value: int) -> bytes:
    """One LEB128 number."""
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def option(magic: int, value: bytes) -> bytes:
    head = struct.pack("<HHII", undo.OPTION_CODE, len(value) + 8, undo.ENTERPRISE, magic)
    return head + value + bytes(-len(value) % 4)


def record(value: bytes, piece: int = 60000) -> bytes:
    """Options that hold a record, several where it is long."""
    parts = [value[at : at + piece] for at in range(0, len(value), piece)] or [b""]
    return b"".join(option(undo.MAGIC if k == 0 else undo.MAGIC_MORE, part) for k, part in enumerate(parts))


def value_of(options: bytes) -> bytes:
    """The bytes of the record in options that were not changed."""
    at, out = 0, b""
    while at + 4 <= len(options):
        code, length = struct.unpack_from("<HH", options, at)
        ours = code == undo.OPTION_CODE and length >= 8 and struct.unpack_from("<I", options, at + 4)[0] == undo.ENTERPRISE
        if ours and struct.unpack_from("<I", options, at + 8)[0] in (undo.MAGIC, undo.MAGIC_MORE):
            out += options[at + 12 : at + 4 + length]
        at += 4 + (length + 3 & ~3)
    return out


def forged(rng: random.Random, frame_len: int) -> bytes:
    """A record that follows the grammar with numbers that lie."""

    def some(right: int) -> bytes:
        return number(rng.choice(HUGE) if rng.random() < 0.15 else right)

    flags = rng.choice((0, 1, 2, 3, 6, 7, 8, 10, 14, 9, 15, 16, 31))
    segments = rng.choice((1, 2, 2, 3, 40))
    out = some(flags) + some(frame_len)
    if flags & undo.GROUP_START:
        out += some(segments)
    if flags & undo.CUT:
        out += some(rng.choice((1, 16, 1 << 17, 1 << 16, 1 << 13))) + some(max(1, frame_len // segments))
    if flags & undo.EXPLICIT:
        out += some(rng.randrange(frame_len + 1))
    out += some(segments)
    for k in range(min(segments, 50)):
        if flags & undo.PLACES:
            out += some(k)
        out += some(rng.randrange(300))
        patches = rng.randrange(3)
        own = rng.random() < 0.2
        out += some(patches << 1 | own)
        if own:
            text = struct.pack("<HH", rng.choice((0, 1, 4, 2989)), rng.choice((0, 4, 8, 65535))) + bytes(rng.choice((0, 4, 8)))
            out += some(len(text)) + text
        if flags & undo.EXPLICIT:
            out += some(4) + b"head" + some(frame_len // segments) + some(2) + b"ta" + some(0)
        elif flags & undo.CUT:
            for _ in range(patches):
                out += some(rng.randrange(30)) + some(2) + rng.randbytes(2)
    return out


def mutated(rng: random.Random, frame: bytes, options: bytes) -> tuple[bytes, bytes]:
    """Change the record, its options or the frame."""
    roll = rng.random()
    value = bytearray(value_of(options))
    if roll < 0.1:
        return frame, options
    if roll < 0.35 and value:
        for _ in range(rng.choice((1, 1, 3))):
            at = rng.randrange(min(len(value), rng.choice((8, 40, 10**6))))
            if rng.random() < 0.5:
                value[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, value[at] ^ 1 << rng.randrange(8)))
            else:
                value[at : at + rng.randrange(2)] = number(rng.choice(HUGE))
        return frame, record(bytes(value), rng.choice((60000, 5)))
    if roll < 0.45:
        return frame, record(bytes(value[: rng.randrange(len(value) + 1)]))
    if roll < 0.75:
        return frame, naive_noise(rng) + record(forged(rng, len(frame))) + naive_noise(rng)
    if roll < 0.85 and options:
        raw = bytearray(options)
        for _ in range(rng.choice((1, 4))):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        return frame, bytes(raw)
    if roll < 0.9:
        return frame, options[: rng.randrange(len(options) + 1) & ~3]
    if roll < 0.95:
        return frame[: rng.randrange(len(frame) + 1)], options
    return frame + bytes(rng.randrange(1, 9)), options


def naive_noise(rng: random.Random) -> bytes:
    """Nothing, or an option of somebody else."""
    return b"" if rng.random() < 0.7 else struct.pack("<HH", 1, 5) + b"hello\0\0\0"


def recorded(rounds: int) -> list[tuple[bytes, bytes, int]]:
    """Frames, options and link types of coalesced captures, in order."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "x.pcapng", Path(folder) / "y.pcapng"
        for seed in range(rounds):
            source.write_bytes(wild_pcapng(seed + 900).data)
            coalesce_capture(str(source), str(target), Options(reassemble=True, poll=16))
            with open_capture(target) as reader:
                for batch in reader:
                    links = batch.link[: int(batch.used[FRAMES])].tolist()
                    found += [(f.data, f.options, link) for f, link in zip(frames_of(batch), links, strict=True)]
    return [one for one in found if len(one[0]) <= SLOT and len(one[1]) <= SLOT - 2000]


class Sink:
    """A writer that reads every byte it is given."""

    format, warnings = "pcapng", []

    def __init__(self) -> None:
        self.frames, self.bytes, self.options = 0, 0, 0

    def write(self, out: Batch) -> None:
        for j in range(int(out.used[FRAMES])):
            assert len(frame_bytes(out, j)) == out.frame_len[j] <= out.wire_len[j] or out.wire_len[j] >= 0
            at = int(out.option_addr[j])
            self.options += len(out.pool.mem[at : at + int(out.option_len[j])].tobytes())
            self.bytes += int(out.frame_len[j])
        self.frames += int(out.used[FRAMES])


def fuzz(rounds: int, seed: int) -> Counter:
    """Run batches of mutated records; return a Counter of outcomes."""
    rng = random.Random(seed)
    originals = recorded(40)
    starts = [k for k, (_, options, _) in enumerate(originals) if value_of(options)]
    pool, ends = guarded_pool()
    batch = make_batch(pool, PER_BATCH, 1)
    seen = Counter()
    sink = Sink()
    reader = SimpleNamespace(interfaces=[Interface(ticks_per_second=rate) for rate in (10**9, 10**6, 2**10, 10**19, 0)])
    segmenters = [
        _Segmenter(reader, sink, Wishes(0, ufo, spread, recorded))
        for ufo in (False, True)
        for spread, recorded in ((0, True), (10**6, False))
    ]
    for _ in range(0, rounds, PER_BATCH):
        first = min(rng.choice(starts), len(originals) - PER_BATCH)
        port = rng.randrange(len(reader.interfaces))
        for i, (data, own, link) in enumerate(originals[first : first + PER_BATCH]):
            frame, options = mutated(rng, data, own) if rng.random() < 0.6 else (data, own)
            options = options[:SLOT]
            place(batch, i, frame[:SLOT], ends[2 * i], options[: len(options) & ~3], ends[2 * i + 1])
            batch.link[i], batch.in_port[i] = link, port
        batch.used[FRAMES] = PER_BATCH
        parse(batch, 0, PER_BATCH)
        assert 0 <= whole_groups(batch) <= PER_BATCH
        segmenter = rng.choice(segmenters)
        segmenter._segment(batch)
        assert_all_free(pool)
    seen["frames"], seen["bytes"], seen["options"] = sink.frames, sink.bytes, sink.options
    for segmenter in segmenters:
        seen["damaged"] += int(segmenter.plan.damaged[0])
        for row, name in enumerate(
            ("", "mtu", "undo", "syn", "seen", "default", "segments", "snaplen", "refused", "disordered", "passed")
        ):
            seen[name] += int(segmenter.counts[row])
    return seen


def place(batch: Batch, i: int, frame: bytes, frame_end: int, options: bytes, options_end: int) -> None:
    """Put a frame and its options so that the last byte of each is the last before a guard."""
    mem = batch.pool.mem
    mem[frame_end - len(frame) : frame_end] = np.frombuffer(frame, np.uint8)
    mem[options_end - len(options) : options_end] = np.frombuffer(options, np.uint8)
    batch.head_addr[i], batch.head_len[i], batch.head_chunk[i] = frame_end - len(frame), len(frame), NO_CHUNK
    batch.frame_len[i] = batch.wire_len[i] = len(frame)
    batch.frag_count[i] = 0
    batch.option_addr[i], batch.option_len[i] = options_end - len(options), len(options)
    batch.ip_summed[i] = batch.gso_type[i] = batch.gso_size[i] = batch.gso_segs[i] = 0
    batch.payload_sum[i] = -1
    batch.timestamp[i], batch.ticks[i] = 10**18, 10**18


if __name__ == "__main__":
    print(json.dumps(fuzz(int(sys.argv[1]), int(sys.argv[2]))))
