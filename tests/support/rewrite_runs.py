"""Frames beside their twins: what stands in a batch, and the bytes that it should be."""

from pktpath.batch import CHECKSUM_PARTIAL, FRAGS, FRAMES
from pktpath.pool import LARGE, NORMAL, chunk_address, chunk_class_of, chunk_get
from pktpath.switch.actions import SETTABLE, PopVlan, PushVlan, Set, program
from pktpath.switch.fields import FIELDS
from pktpath.switch.rewrite import CLONE, INSERT_TAG, WRITABLE, rewrite_frame
from pktpath.wire.parse import parse
from support import naive_rewrite
from support.flow_frames import flow_frame, mutated
from support.switch_frames import add_frame, bytes_of, make_room

PARSED = ("network", "protocol", "shape_flags", "network_offset", "transport_offset", "payload_offset", "payload_len")


class Twins:
    """A batch and what each of its frames should be."""

    def __init__(self, **room):
        self.batch = make_room(**room)
        self.free = self.batch.pool.free_count.copy()
        self.bytes = []
        self.partial = []
        self.held = []
        self.foreign = []

    def add(self, data, *, tag=None, head=None, place=None, gso=0, partial=False):
        """Append a frame whose head is in `place`.

        None: read-only; "own": a chunk; "shared": one that somebody else holds too; "tight": one without headroom.
        """
        batch = self.batch
        i = add_frame(batch, data, tag=tag, head=head, gso=gso, chunk_class=place and (NORMAL if len(data) < 1900 else LARGE))
        frame = batch.frames[i]
        if place == "shared":
            chunk_get(batch.pool, int(frame.head_chunk))
            self.held.append(int(frame.head_chunk))
        if place == "tight":
            at, size = chunk_address(batch.pool, int(frame.head_chunk)), int(frame.head_len)
            mem = batch.pool.mem
            mem[at : at + size] = mem[frame.head_addr : frame.head_addr + size].copy()
            frame.head_addr = at
        if partial and frame.transport_offset and frame.protocol in (6, 17):
            frame.ip_summed, frame.csum_start = CHECKSUM_PARTIAL, frame.transport_offset
            frame.csum_offset = 16 if frame.protocol == 6 else 6
        if place in (None, "shared"):
            at, end = int(frame.head_addr), int(frame.head_addr + frame.head_len)
            self.foreign.append((at, end, batch.pool.mem[at:end].tobytes()))
        self.bytes.append(bytes_of(batch, i))
        self.partial.append(bool(frame.ip_summed == CHECKSUM_PARTIAL))
        return i

    def run(self, i, action):
        """Do an action, or clone, insert, writable, to frame `i` and its twin."""
        if action == "clone":
            j = rewrite_frame(self.batch, i, CLONE, 0, 0, 0)
            if j >= 0:
                self.bytes.append(self.bytes[i])
                self.partial.append(self.partial[i])
            return j >= 0
        if action == "insert":
            return bool(rewrite_frame(self.batch, i, INSERT_TAG, 0, 0, 0))
        if isinstance(action, int):
            return bool(rewrite_frame(self.batch, i, WRITABLE, action, 0, 0))
        if not all(rewrite_frame(self.batch, i, *map(int, row)) for row in program((action,))):
            return False
        self.bytes[i] = self.after(i, action)
        return True

    def after(self, i, action):
        data = self.bytes[i]
        match action:
            case PushVlan(tpid, tci):
                return naive_rewrite.push(data, tpid, tci)
            case PopVlan():
                return naive_rewrite.pop(data)
            case Set(field, value, mask):
                whole = bool(self.batch.gso_size[i])
                return naive_rewrite.set_field(data, field, value, mask, partial=self.partial[i], whole=whole)
        raise ValueError(action)

    def check(self):
        """Every frame is its twin, every descriptor what parsing it anew would give, and nobody else's bytes have changed."""
        batch = self.batch
        for at, end, before in self.foreign:
            assert batch.pool.mem[at:end].tobytes() == before
        assert batch.used[FRAMES] == len(self.bytes)
        for i, expected in enumerate(self.bytes):
            assert bytes_of(batch, i).hex() == expected.hex(), i
            frame = batch.frames[i]
            assert inside_its_chunk(batch.pool, int(frame.head_chunk), int(frame.head_addr), int(frame.head_len))
            assert frame.frame_len == frame.head_len + sum(self.batch.frag_len[frame.frag_first :][: frame.frag_count])
            before = {name: int(frame[name]) for name in PARSED}
            parse(batch, i, i + 1)
            assert {name: int(frame[name]) for name in PARSED} == before, (i, expected.hex())
            if frame.ip_summed == CHECKSUM_PARTIAL:
                assert frame.csum_start == frame.transport_offset

    def end(self, release):
        """Give all chunks back; none is lost."""
        release(self.batch)
        for chunk in self.held:
            assert self.batch.pool.refs[chunk] == 1
            self.batch.pool.refs[chunk] = 0
            self.batch.pool.free_count[chunk_class_of(self.batch.pool, chunk)] += 1
        assert (self.batch.pool.free_count == self.free).all()
        assert self.batch.used[FRAGS] == 0


def inside_its_chunk(pool, chunk, at, length):
    """Whether a range lies in a chunk, or in none."""
    if chunk < 0:
        return True
    start = chunk_address(pool, chunk)
    return start <= at and at + length <= start + pool.size[chunk_class_of(pool, chunk)]


def random_action(rng):
    """Return an action, "clone", "insert", or how many bytes must be writable."""
    kind = rng.choices(("set", "push", "pop", "clone", "insert", "writable"), (12, 2, 2, 2, 1, 1))[0]
    if kind == "push":
        return PushVlan(rng.choice((0x8100, 0x88A8)), rng.getrandbits(16) & 0xEFFF)
    if kind == "set":
        field = rng.choice(SETTABLE)
        bits = FIELDS[field].bits
        full = (1 << bits) - 1
        value, mask = rng.choice((0, full, rng.getrandbits(bits))), rng.choice((full, full, full, rng.getrandbits(bits), 0))
        return Set(field, value & mask, mask)
    return {"pop": PopVlan(), "clone": "clone", "insert": "insert", "writable": 14}[kind]


def random_frame(rng, *, spoilt):
    """Return the arguments of `Twins.add`."""
    data = flow_frame(rng)
    if spoilt:
        data = mutated(data, rng)
    while len(data) < 14:
        data = flow_frame(rng)
    head = rng.choice((len(data), len(data), max(min(len(data), 250), len(data) - rng.randrange(100))))
    return data, {
        "tag": rng.choice((None, None, (0x8100, rng.getrandbits(16)), (0x88A8, 5))),
        "head": head,
        "place": rng.choice((None, "own", "shared", "tight")),
        "gso": rng.choice((0, 0, 0, 1448)),
        "partial": rng.random() < 0.3,
    }
