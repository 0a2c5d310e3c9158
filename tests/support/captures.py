"""What the capture tests share: reading by the real reader into the naive form, files that come in pieces, strategies."""

import io
import struct

from hypothesis import strategies as st

from pktpath.batch import FRAMES, Batch, frame_bytes
from pktpath.port.capture import CaptureError, open_capture
from support import naive_capture as naive
from support.naive_capture import Contents, Frame


class Pieces(io.RawIOBase):
    """A file whose reads return as many bytes as the list of sizes says, then whatever is asked."""

    def __init__(self, data: bytes, sizes=()):
        super().__init__()
        self._data, self._sizes = data, list(sizes)

    def readable(self):
        return True

    def readinto(self, view):
        size = min(len(view), self._sizes.pop(0) if self._sizes else len(view))
        chunk, self._data = self._data[:size], self._data[size:]
        view[: len(chunk)] = chunk
        return len(chunk)


def frames_of(batch: Batch) -> list[Frame]:
    mem = batch.pool.mem
    frames = []
    for i in range(int(batch.used[FRAMES])):
        at = int(batch.option_addr[i])
        options = mem[at : at + int(batch.option_len[i])].tobytes()
        numbers = (int(column[i]) for column in (batch.wire_len, batch.ticks, batch.in_port))
        frames.append(Frame(frame_bytes(batch, i), *numbers, options, int(batch.timestamp[i])))
    return frames


def contents_of(target, **options) -> tuple[Contents, list[str]]:
    """Everything in a capture, as the naive reader would say it, and the warnings or the error."""
    contents = Contents()
    with open_capture(target, **options) as reader:
        try:
            for item in reader.items():
                contents.items += frames_of(item) if isinstance(item, Batch) else [item.data]
        except CaptureError as error:
            contents.end = "lie"
            return contents, [str(error)]
        if any("truncated at offset" in line for line in reader.warnings):
            contents.end = "truncated"
        return contents, reader.warnings


lengths = st.one_of(st.integers(0, 70), st.sampled_from([0, 1, 2, 3, 60, 1514, 5000]))


@st.composite
def frames(draw, *, ticks_limit, ports=1):
    data = draw(st.binary(min_size=1, max_size=8))
    length = draw(lengths)
    data = (data * (length // len(data) + 1))[:length]
    return Frame(
        data, length + draw(st.sampled_from([0, 0, 7])), draw(st.integers(0, ticks_limit)), draw(st.integers(0, ports - 1))
    )


@st.composite
def pcaps(draw):
    nanoseconds = draw(st.booleans())
    limit = 2**32 * (10**9 if nanoseconds else 10**6) - 1
    some = draw(st.lists(frames(ticks_limit=limit), max_size=30))
    linktype = draw(st.sampled_from([1, 101, 113, 276, 0, 108, 12, 147, 1 | 1 << 26 | 2 << 28]))
    snaplen = draw(st.sampled_from([262144, 65535, 96]))
    return naive.pcap_file(some, order=draw(st.sampled_from("<>")), nanoseconds=nanoseconds, linktype=linktype, snaplen=snaplen)


@st.composite
def packet_options(draw, order):
    out = b""
    for code in draw(st.lists(st.sampled_from([1, 2, 4, 5, 6, 2988, 2989, 19372, 19373, 40000]), max_size=3)):
        size = {2: 4, 6: 4, 4: 8, 5: 8}.get(code)
        value = draw(st.binary(min_size=4 if size is None else size, max_size=20 if size is None else size))
        out += naive.option(code, value, order)
    return out


@st.composite
def pcapngs(draw):
    """Files as common programs write them: no odd option endings, enhanced packet blocks only."""
    out = b""
    for _ in range(draw(st.integers(1, 3))):
        order = draw(st.sampled_from("<>"))
        out += naive.section(order)
        ports = draw(st.integers(1, 3))
        for _ in range(ports):
            out += naive.interface(
                order,
                linktype=draw(st.sampled_from([1, 101, 113])),
                resolution=draw(
                    st.sampled_from([None, 0, 3, 6, 9, 12, 19, 0x80, 0x80 | 10, 0x80 | 32, 0x80 | 60, 0x80 | 63, 40])
                ),
                offset=draw(st.sampled_from([None, 0, 5, -7])),
                name=draw(st.sampled_from([None, "eth0"])),
            )
        for _ in range(draw(st.integers(0, 12))):
            frame = draw(frames(ticks_limit=2**60, ports=ports))
            out += naive.packet(frame, order, raw_options=draw(packet_options(order)))
            if draw(st.integers(0, 7)) == 0:
                kind = draw(st.sampled_from([4, 5, 10, 0x0BAD, 0x80000001]))
                out += naive.block(kind, struct.pack(order + "I", 0) + draw(st.binary(max_size=40)), order)
    return out
