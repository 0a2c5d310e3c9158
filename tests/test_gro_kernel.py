"""Random hostile rounds: frame bytes, order and virtio_net_hdr are those of the running kernel.

Not judged: VLAN tags in the frame, since the kernel here has no VLAN support (it passes every tagged
frame); `test_gro_naive` has them. 64 UDP segments in one frame, since a poll takes no more than 64
frames. The hash of every frame is 0, so all flows share one bucket; other buckets are the twin's too.
"""

import os
import struct

import pytest

from pktpath.offload.gro import gro
from pktpath.offload.reason import REASONS, Reason
from pktpath.port.memory import load
from support.craft import Packet
from support.hostile import hostile_round
from support.kernel_fixture import kernel_gro  # noqa: F401  a fixture
from support.vnet import as_kernel_tells

pytestmark = pytest.mark.oracle
ROUNDS = int(os.environ.get("PKTPATH_FUZZ_ROUNDS", "3000"))
CHUNK = 100

NOT_ON_A_TAP = {
    Reason.CUT_BY_SNAPLEN,
    Reason.UDP_OFF,
    Reason.SUPER_FRAME,
    Reason.TOO_MANY_SEGMENTS,
    Reason.NO_MEMORY,
    Reason.GRO_OFF,
}


@pytest.mark.fuzz
def test_hostile_rounds(kernel_gro, capsys) -> None:  # noqa: F811
    counts = [0] * REASONS
    merged = 0
    for first in range(0, ROUNDS, CHUNK):
        seeds = range(first, min(first + CHUNK, ROUNDS))
        rounds = [hostile_round(seed) for seed in seeds]
        for seed, frames, theirs in zip(seeds, rounds, kernel_gro.run_rounds([(frames, ()) for frames in rounds]), strict=True):
            batch = load(frames)
            summed = batch.ip_summed
            out = gro(batch)
            assert as_kernel_tells(out) == theirs, f"seed {seed}"
            # Once more with the checksums verified beforehand, as by a device: another way through the code.
            batch = load(frames)
            batch.ip_summed[:] = summed
            assert as_kernel_tells(gro(batch)) == theirs, f"seed {seed}, verified"
            merged += len(frames) - len(theirs)
            for i in range(int(out.used[0])):
                counts[out.reason[i]] += 1
    with capsys.disabled():
        print(f"\n{ROUNDS} rounds, {merged} frames merged;", {reason.word: counts[reason] for reason in Reason if counts[reason]})
    assert merged > 0
    assert {reason for reason in Reason if not counts[reason] and reason < Reason.BAD_FRAGMENT} <= NOT_ON_A_TAP


def test_super_frame_completes_what_is_held(kernel_gro) -> None:  # noqa: F811
    """A frame that arrives with gso_size set is never merged, but it does not overtake its flow."""
    segments = [Packet(payload=bytes(100), seq=100 + 100 * k).frame() for k in range(2)]
    big = Packet(payload=bytes(1000), seq=300, partial=True).frame()
    after = Packet(payload=bytes(100), seq=1300).frame()
    plain = bytes(10)
    header = struct.pack("<BBHHHH", 1, 1, 54, 100, 34, 16)
    theirs = kernel_gro.run([*segments, big, after], [plain, plain, header, plain])
    batch = load([*segments, big, after])
    batch.gso_size[2], batch.gso_segs[2], batch.gso_type[2] = 100, 10, 1
    batch.ip_summed[2], batch.csum_start[2], batch.csum_offset[2] = 3, 34, 16
    out = gro(batch)
    assert as_kernel_tells(out) == theirs
    assert [Reason(reason) for reason in out.reason[:3]] == [Reason.SUPER_FRAME, Reason.SUPER_FRAME, Reason.ALONE]


def test_partial_checksum_of_a_guest_counts_as_right(kernel_gro) -> None:  # noqa: F811
    """A TAP believes NEEDS_CSUM, which is `trust_partial` here."""
    frames = [Packet(payload=bytes(100), seq=100 + 100 * k, partial=True).frame() for k in range(3)]
    header = struct.pack("<BBHHHH", 1, 0, 0, 0, 34, 16)
    theirs = kernel_gro.run(frames, [header] * 3)
    batch = load(frames)
    batch.ip_summed[:3], batch.csum_start[:3], batch.csum_offset[:3] = 3, 34, 16
    assert as_kernel_tells(gro(batch, trust_partial=True)) == theirs


def test_one_wrong_byte_is_seen(kernel_gro) -> None:  # noqa: F811
    """The comparison can fail."""
    frames = [Packet(payload=bytes(100), seq=100 + 100 * k).frame() for k in range(3)]
    theirs = kernel_gro.run(frames)
    frames[1] = frames[1][:-1] + b"\1"
    assert as_kernel_tells(gro(load(frames))) != theirs
