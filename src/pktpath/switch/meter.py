"""Meters: token buckets that drop what comes faster than a rate.

One band more is one rate more: a frame must pass them all, and of those that it exceeds the fastest counts it. Rates and
bursts are OpenFlow's, kilobits or packets (a second); a bucket holds bits or thousandths of packets, and time counts
in whole milliseconds, so that rate * time is a number of these. A bucket starts full; no burst means a second's worth.

Workers share meters without a lock. Two that read a bucket at the same moment may both take the same tokens, or both
add the same millisecond: now and then a frame too many passes, and a count may miss one. A share for each worker would be
wrong for most traffic, which is not spread evenly; a lock would cost every frame.

Source: ovs-ofctl(8) "Meter Table Commands", dpif-netdev's meters as they behave; OpenFlow 1.3, section 5.7.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pktpath.errors import BadInput
from pktpath.jit import inlined, kernel

MAX_BANDS = 8
"""Bands that a meter may have, as in OVS's userspace datapath."""
MAX_RATE = (1 << 32) - 1
_MILLISECOND = 1_000_000
_PER_PACKET = 1000
_PER_BYTE = 8

METER = np.dtype(
    [
        ("bands", "i8"),  # how many; 0: there is no such meter, and every frame passes
        ("by_packets", "i8"),
        ("last_ms", "i8"),
        ("packets", "i8"),  # that came
        ("octets", "i8"),
    ]
)
BAND = np.dtype(
    [
        ("rate", "i8"),  # kilobits or packets a second: bits or thousandths of packets a millisecond
        ("room", "i8"),  # most that the bucket holds
        ("tokens", "i8"),  # below 0: a super-frame larger than the bucket is being paid off
        ("dropped_packets", "i8"),
        ("dropped_octets", "i8"),
    ]
)

Meters = tuple[NDArray[Any], NDArray[Any]]
"""(meters,) records of type `METER` and (meters, MAX_BANDS) records of type `BAND`."""


def make_meters(count: int) -> Meters:
    """Make `count` meters without bands: numbers 0 to `count - 1`."""
    return np.zeros(count, METER).view(np.recarray), np.zeros((count, MAX_BANDS), BAND).view(np.recarray)


def set_meter(
    meters: Meters, number: int, bands: Sequence[tuple[int, int]], *, by_packets: bool = False, now_ns: int = 0
) -> None:
    """Give a meter its bands, each (rate, burst), with full buckets and counters at zero; no bands remove it.

    Args:
        meters: from `make_meters`.
        number: which one.
        bands: rate in kbit/s or packets/s, burst in kbit or packets, 0 for a second's worth.
        by_packets: whether these are packets.
        now_ns: the time, on the clock that `meter_pass` is told.

    Raises:
        BadInput: a rate, a burst or the number of bands is out of range.

    """
    if len(bands) > MAX_BANDS:
        message = f"a meter with {len(bands)} bands: at most {MAX_BANDS} are possible"
        raise BadInput(message)
    for rate, burst in bands:
        if not 0 < rate <= MAX_RATE or not 0 <= burst <= MAX_RATE:
            message = f"a meter band of rate {rate} and burst {burst}: 1 to {MAX_RATE} and 0 to {MAX_RATE} are possible"
            raise BadInput(message)
    records, table = meters
    # Workers look at the number of bands first: while they change there are none.
    records[number].bands = 0
    for k, (rate, burst) in enumerate(bands):
        room = (burst or rate) * 1000
        table[number, k] = (rate, room, room, 0, 0)
    records[number] = (0, by_packets, now_ns // _MILLISECOND, 0, 0)
    records[number].bands = len(bands)


@inlined
def meter_pass(meters, number, now_ns, packets, size):
    """Count a frame of `packets` segments and `size` bytes in all at a meter, and say whether it passes.

    A super-frame passes or is dropped whole. One that is larger than the bucket passes when the bucket is full, and
    the next ones wait until it is paid: so the rate is right whatever the size. `now_ns` is monotonic.
    """
    records, table = meters
    meter = records[number]
    bands = meter.bands
    if bands == 0:
        return True
    now_ms = now_ns // _MILLISECOND
    past = max(now_ms - meter.last_ms, 0)
    if past > 0:
        meter.last_ms = now_ms
    meter.packets += packets
    meter.octets += size
    volume = packets * _PER_PACKET if meter.by_packets else size * _PER_BYTE
    exceeded = np.int64(-1)
    for k in range(bands):
        band = table[number, k]
        room = band.room
        tokens = band.tokens
        if past > 0:
            # Longer than it takes to fill the bucket is as good as that, and cannot overflow.
            tokens = min(tokens + min(past, (room - tokens) // band.rate + 1) * band.rate, room)
        if tokens >= (min(volume, room) if packets > 1 else volume):
            tokens -= volume
        elif exceeded < 0 or band.rate > table[number, exceeded].rate:
            exceeded = np.int64(k)
        band.tokens = tokens
    if exceeded < 0:
        return True
    table[number, exceeded].dropped_packets += packets
    table[number, exceeded].dropped_octets += size
    return False


@kernel
def meter_frames(meters, number, times, packets, sizes, passed):
    """Ask a meter about many frames from Python: whether each passes is written into `passed`."""
    for k in range(len(times)):
        passed[k] = meter_pass(meters, number, times[k], packets[k], sizes[k])
