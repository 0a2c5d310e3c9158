"""The Python API, as somebody writes it who has read the docstrings and nothing else."""

import numpy as np
import pytest

import pktpath
from support import naive_capture as naive
from support.craft import Packet

FRAMES = [Packet(sport=1 + k % 2, seq=k // 2 * 1448, id=k // 2, payload=bytes([k]) * 1448).frame() for k in range(40)]


@pytest.fixture
def capture(tmp_path):
    path = tmp_path / "x.pcap"
    path.write_bytes(naive.pcap_file([naive.Frame(frame, len(frame), 1000 + k) for k, frame in enumerate(FRAMES)]))
    return path


def test_read_gro_gso_write(capture, tmp_path):
    coalesced = [pktpath.gro(batch) for batch in pktpath.read(capture)]
    assert [int(batch.gso_segs[i]) for batch in coalesced for i in range(int(batch.used[0]))] == [20, 20]
    assert pktpath.write(tmp_path / "gro.pcapng", coalesced) == 2
    assert pktpath.write(tmp_path / "back.pcapng", (pktpath.gso(batch) for batch in coalesced)) == 40
    back = [frame for batch in pktpath.read(tmp_path / "back.pcapng") for frame in pktpath.unload(batch)]
    # GRO delivers bucket after bucket, and the receive hash says which flow lies in which.
    assert back in (FRAMES[0::2] + FRAMES[1::2], FRAMES[1::2] + FRAMES[0::2])


def test_one_after_the_other_in_memory(capture):
    for batch in pktpath.read(capture, "tcp src port 1"):
        assert int(batch.used[0]) == 20
        merged = pktpath.gro(batch, pktpath.RULES["7.0"])
        assert int(batch.used[0]) == 0
        assert pktpath.Reason(int(merged.reason[0])).word == "none"
        assert np.array_equal(merged.gso_size[:1], [1448])
        wire = pktpath.gso(merged, pktpath.Feature.SG)
        assert [pktpath.frame_bytes(wire, i) for i in range(20)] == FRAMES[0::2]
        pktpath.release(wire)


def test_frames_of_one_s_own(tmp_path):
    batch = pktpath.load(FRAMES, timestamps=[10**9 * k for k in range(40)])
    assert pktpath.write(tmp_path / "own.pcap", [pktpath.gso(pktpath.gro(batch))]) == 40
    (found,) = pktpath.read(tmp_path / "own.pcap")
    assert found.timestamp[20] == 10**9


def test_errors_are_one_line(tmp_path):
    with pytest.raises(pktpath.CaptureError, match=r"missing\.pcap: No such file"):
        next(pktpath.read(tmp_path / "missing.pcap"))
    with pytest.raises(pktpath.CaptureError, match="No such file"):
        pktpath.write(tmp_path / "none" / "x.pcap", [])
    assert issubclass(pktpath.CaptureError, pktpath.BadInput)


def test_every_public_name_is_there():
    for name in pktpath.__all__:
        assert getattr(pktpath, name) is not None
    assert set(pktpath.__all__) <= set(dir(pktpath))
