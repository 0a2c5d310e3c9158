"""Segmentation equals the running kernel's, byte for byte: TCP, USO and UFO over IPv4 and IPv6.

A repeated IP ID (SKB_GSO_TCP_FIXEDID), AccECN and GSO_PARTIAL have no word in a virtio_net_hdr: those are
judged by the naive twin alone. The kernel draws the identification of IPv6 fragments at random; it
is compared as the same number in all fragments of a datagram.
"""

import os
import random

import pytest

from pktpath.batch import CHECKSUM_PARTIAL, FRAMES, GSO_TCP_ECN, GSO_TCPV4, GSO_UDP, GSO_UDP_L4, frame_bytes, release
from pktpath.features import Feature
from pktpath.offload.gso import gso
from support import kernel_gso
from support.gso_frames import Super, assert_all_free, batch_of, edges, random_super, roomy_pool, super_frame

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(bool(kernel_gso.why_not()), reason=f"the kernel cannot judge here: {kernel_gso.why_not()}"),
]
ROUNDS = int(os.environ.get("PKTPATH_FUZZ_ROUNDS", "2500"))
MOST_SEGMENTS = 900
"""A veth holds 1000 frames at a time (net.core.netdev_max_backlog) and loses the rest."""


@pytest.fixture(scope="module")
def complete():
    """Let the kernel complete checksums and share payload: a port with scatter-gather alone."""
    kernel = kernel_gso.KernelGso(checksum=False)
    yield kernel
    kernel.close()


@pytest.fixture(scope="module")
def offloaded():
    """Let the device complete checksums: they leave partial."""
    kernel = kernel_gso.KernelGso(checksum=True)
    yield kernel
    kernel.close()


def virtio_type(frame):
    if frame.gso_type & GSO_UDP_L4:
        return kernel_gso.UDP_L4
    if frame.gso_type & GSO_UDP:
        return kernel_gso.UDP
    kind = kernel_gso.TCPV4 if frame.gso_type & GSO_TCPV4 else kernel_gso.TCPV6
    return kind | (kernel_gso.ECN if frame.gso_type & GSO_TCP_ECN else 0)


def ask(kernel, frame):
    # The kernel drops a frame that its virtio_net_hdr calls too long by counting TCP options as payload.
    whole = frame.payload_len + (8 if frame.gso_type & GSO_UDP else 0) <= frame.gso_size or not frame.gso_size
    return kernel.cut(
        frame.data,
        gso_type=kernel_gso.NONE if whole else virtio_type(frame),
        gso_size=frame.gso_size,
        hdr_len=frame.payload_at,
        csum_start=frame.transport_at,
        csum_offset=frame.field,
    )


def ours(frames, features, rng=None):
    """Return [[(frame, partial)]]: for each super-frame what we make of it."""
    pool = roomy_pool(frames)
    out = gso(batch_of(frames, pool=pool, rng=rng), features)
    results = [[] for _ in frames]
    for j in range(int(out.used[FRAMES])):
        partial = (int(out.csum_start[j]), int(out.csum_offset[j])) if out.ip_summed[j] == CHECKSUM_PARTIAL else None
        results[out.origin[j]].append((frame_bytes(out, j), partial))
    release(out)
    assert_all_free(pool)
    return results


def without_ident(frame: Super, cut):
    """Return the frames with the identification of IPv6 fragments, which must be one number, left out."""
    if not (frame.gso_type & GSO_UDP and frame.data[frame.network_at] >> 4 == 6) or len(cut) == 1:
        return cut
    at = frame.transport_at + 4
    assert len({data[at : at + 4] for data, _ in cut}) == 1
    return [(data[:at] + data[at + 4 :], partial) for data, partial in cut]


def compare(kernel, frames, features, rng=None):
    for frame, cut in zip(frames, ours(frames, features, rng), strict=True):
        assert without_ident(frame, cut) == without_ident(frame, ask(kernel, frame)), frame


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("udp", [0, GSO_UDP, GSO_UDP_L4])
def test_every_size_around_the_edges(complete, offloaded, udp, version):
    rng = random.Random(1)
    frames = []
    for size in (64, 512, 1000, 1001, 1448, 9000, 30000):
        size &= ~7 if udp == GSO_UDP else ~0  # noqa: PLW2901
        lengths = {*edges(size), *range(size - 9, size + 9), *range(2 * size - 9, 2 * size + 9), 65535 - 200}
        most = min(65400, (128 if udp == GSO_UDP_L4 else MOST_SEGMENTS) * size)
        frames += [
            super_frame(version=version, udp=udp, payload=rng.randbytes(length), size=size)
            for length in sorted(lengths)
            if length <= most
        ]
    compare(complete, frames, Feature.SG, rng)
    compare(offloaded, frames[::5], Feature.SG | Feature.HW_CSUM)
    compare(complete, frames[::5], Feature.NONE)


@pytest.mark.parametrize("version", [4, 6])
def test_every_tcp_flag(complete, version):
    rng = random.Random(2)
    frames = [
        super_frame(
            version=version, payload=rng.randbytes(2500), flags=flags, urgent=9, gso_type=GSO_TCP_ECN if flags & 0x80 else 0
        )
        for flags in range(512)
    ]
    compare(complete, frames, Feature.SG)


def test_big_tcp(complete):
    rng = random.Random(3)
    payload = rng.randbytes(180_000)
    frames = [super_frame(payload=payload, size=1448), super_frame(version=6, jumbo=True, payload=payload, size=1428)]
    compare(complete, frames, Feature.SG, rng)


def test_extension_headers_of_ufo(complete):
    """The kernel counts extension headers as payload when it numbers fragments; ours can be put together again."""
    extension = bytes([17, 0, 1, 4, 0, 0, 0, 0])
    frame = super_frame(version=6, udp=GSO_UDP, payload=bytes(2500), size=1000, extensions=extension, first_extension=60)
    ((*cut,),) = ours([frame], Feature.SG)
    judged = ask(complete, frame)
    at = frame.transport_at
    assert [data[:at] for data, _ in cut] == [data[:at] for data, _ in judged]
    assert [data[at + 8 :] for data, _ in cut] == [data[at + 8 :] for data, _ in judged]
    assert [int.from_bytes(data[at + 2 : at + 4], "big") for data, _ in cut] == [0 | 1, 1000 | 1, 2000]
    assert [int.from_bytes(data[at + 2 : at + 4], "big") for data, _ in judged] == [0 | 1, 1008 | 1, 2016]


def test_checksum_that_comes_out_as_zero(complete):
    """An ordinary frame: 0 becomes 0xFFFF for TCP too; in a segment only for UDP."""
    for version in (4, 6):
        for udp in (0, GSO_UDP_L4):
            plain = super_frame(version=version, udp=udp, payload=bytes(100), size=0)
            value = int.from_bytes(ask(complete, plain)[0][0][plain.transport_at + plain.field :][:2], "big")
            # A payload that begins with the checksum makes the sum whole.
            payload = value.to_bytes(2, "big") + bytes(98)
            frames = [
                super_frame(version=version, udp=udp, payload=payload, size=0),
                super_frame(version=version, udp=udp, payload=payload * 3, size=100),
            ]
            compare(complete, frames, Feature.SG)
            ((whole, _),) = ask(complete, frames[0])
            assert whole[plain.transport_at + plain.field :][:2] == b"\xff\xff"


@pytest.mark.fuzz
def test_random_frames(complete, offloaded):
    rng = random.Random(4)
    for first in range(0, ROUNDS, 25):
        frames = [random_super(rng, kernel=True) for _ in range(min(25, ROUNDS - first))]
        compare(complete, frames, rng.choice((Feature.NONE, Feature.SG)), rng)
        if first % 75 == 0:
            compare(offloaded, frames, Feature.SG | Feature.HW_CSUM, rng)
