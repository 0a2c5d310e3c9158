"""What frames cost: polls, sk_buffs, GRO, TCP and checksums, by bursts through the kernel's own receive path.

The kernel sends a frame in bursts from one end of a veth; in the softirq behind a burst the other end's NAPI instance
polls it, on the same CPU. Every cost is a difference between ways that have all else in common:

    dropped       frames that are not sent: what making them costs
    sink          a program in the driver drops them, before there is an sk_buff
    unknown       of a protocol that nobody handles: dropped right behind the driver
    apart         TCP, never merged, for another station: IP drops them at its entrance; with and without GRO
    merged        the same, which GRO makes one of; with short and with long payload
    TCP           the same for this station and an established connection, merged and single
"""

import os
from errno import EPERM
from pathlib import Path
from socket import MSG_TRUNC
from statistics import median

from pktpath.lab.calibrate_bpf import XDP_DROP, XDP_PASS, Stream, attach, run, verdict
from pktpath.lab.calibrate_devices import FIRST, Pair, enter_namespace
from pktpath.lab.calibrate_figures import Unmeasurable

_SHORT, _LONG = 8, 1448
"""Bytes of payload."""
_UNKNOWN = 0x88B5
"""An ethertype for experiments (IEEE 802); nobody handles it."""
_ELSEWHERE = bytes.fromhex("020000000066")
_COUNT, _BURST = 4096, 64
"""Frames of one run, and of one poll."""
_FEW, _MANY = 8, 40
"""Frames of a burst into a connection; they make one merged frame."""
_REPEATS, _BURSTS = 32, 320
"""Runs of a way, and bursts into TCP, of which a block takes the median."""
HOW = {
    "poll": "softirq, schedule, poll and completion: one with one frame, less its share of one with 64; no doorbell, no refill",
    "frame": "sk_buff and page of a frame of a veth, without GRO and IP; no descriptor, no DMA",
    "gro": "a TCP frame that GRO holds and completes, less the same without GRO",
    "stack": "a frame through IP and TCP into a connection's queue; without acknowledgements and the reader's system call",
    "sum": f"GRO's checksum over {_LONG} bytes, less the same over {_SHORT}; they are in a cache",
}
"""The costs that a block has, and what they contain."""


class Frames:
    """Devices, a program and connections, ready to be measured."""

    def __init__(self) -> None:
        """Make them in a new network namespace.

        Raises:
            Unmeasurable: something is not allowed or not there.
            OSError: the kernel refuses.

        """
        enter_namespace()
        from pyroute2 import IPRoute
        from pyroute2.netlink.exceptions import NetlinkError

        passing, dropping = verdict(XDP_PASS), verdict(XDP_DROP)
        self._stream = Stream()
        try:
            with IPRoute() as ipr:
                self._gro = Pair(ipr, 0, passing, gro=True)
                self._plain = Pair(ipr, 1, passing, gro=False)
                self._sink = Pair(ipr, 2, dropping, gro=True)
        except NetlinkError as error:
            what = "need CAP_NET_ADMIN (run as root)" if error.code == EPERM else f"are not to be had ({os.strerror(error.code)})"
            message = f"veth devices {what}"
            raise Unmeasurable(message) from None
        # Where no frame arrives; see `run`.
        attach(self._stream.program, self._sink.ifindex)
        self._merged, self._single = _Connection(self._gro, 1000), _Connection(self._plain, 1000)
        self._check_merging()

    def _check_merging(self) -> None:
        """See that GRO merges what it should and nothing else, by what TCP receives."""
        for pair, step, segments in ((self._gro, 1, 1), (self._plain, 1, _MANY), (self._gro, 2, _MANY), (self._plain, 2, _MANY)):
            with pair.connection(999):
                before = _segments()
                self._stream.set(FIRST, step * _SHORT, pair.ifindex)
                run(self._stream.program, pair.frame(999, _SHORT), _MANY, _MANY)
                received = _segments() - before
            if received != segments:
                message = f"of a burst of {_MANY} frames TCP received {received}, not {segments}: GRO of this kernel differs"
                raise Unmeasurable(message)

    def block(self) -> dict[str, float]:
        """Return every cost of `HOW` once: nanoseconds, of `sum` picoseconds."""
        at = self._dropped()
        poll = (at["unknown, alone"] - at["unknown"]) - (at["dropped, alone"] - at["dropped"])
        gro = at["apart"] - at["apart, no GRO"]
        single, merged = self._into_tcp()
        return {
            "poll": poll * _BURST / (_BURST - 1),
            "frame": at["merged"] - at["sink"] - gro,
            "gro": gro,
            "stack": single - merged + gro,
            "sum": (at["merged, long"] - at["merged"]) * 1000 / (_LONG - _SHORT),
        }

    def _dropped(self) -> dict[str, float]:
        """Return what a frame costs on each way that ends before TCP."""
        gro, plain, sink = self._gro, self._plain, self._sink
        unknown = plain.frame(1, _SHORT, _UNKNOWN)
        short, long = (_ELSEWHERE + gro.frame(1, length)[len(_ELSEWHERE) :] for length in (_SHORT, _LONG))
        # The frame, its distance to the next, the device, frames of a poll.
        ways = {
            "dropped": (unknown, _SHORT, 0, _BURST),
            "dropped, alone": (unknown, _SHORT, 0, 1),
            "unknown": (unknown, _SHORT, plain.ifindex, _BURST),
            "unknown, alone": (unknown, _SHORT, plain.ifindex, 1),
            "sink": (short, _SHORT, sink.ifindex, _BURST),
            "apart": (short, 2 * _SHORT, gro.ifindex, _BURST),
            "apart, no GRO": (short, 2 * _SHORT, plain.ifindex, _BURST),
            "merged": (short, _SHORT, gro.ifindex, _BURST),
            "merged, long": (long, _LONG, gro.ifindex, _BURST),
        }
        times: dict[str, list[int]] = {name: [] for name in ways}
        for _ in range(_REPEATS):
            for name, (frame, step, ifindex, burst) in ways.items():
                self._stream.set(FIRST, step, ifindex)
                times[name].append(run(self._stream.program, frame, _COUNT, burst))
        return {name: median(spent) for name, spent in times.items()}

    def _into_tcp(self) -> tuple[float, float]:
        """Return what a frame more in a burst costs that TCP takes, without and with GRO."""
        ways = [(connection, count) for connection in (self._single, self._merged) for count in (_FEW, _MANY)]
        times: list[list[int]] = [[] for _ in ways]
        for _ in range(_BURSTS):
            for spent, (connection, count) in zip(times, ways, strict=True):
                spent.append(connection.burst(self._stream, count))
        few, many, few_merged, many_merged = (median(spent) for spent in times)
        return (many - few) / (_MANY - _FEW), (many_merged - few_merged) / (_MANY - _FEW)


class _Connection:
    """A connection and its next byte."""

    def __init__(self, pair: Pair, port: int) -> None:
        self._ifindex = pair.ifindex
        self._frame = pair.frame(port, _SHORT)
        self._socket = pair.connection(port)
        self._next = FIRST
        self._nowhere = bytearray(2 * _MANY * _SHORT)

    def burst(self, stream: Stream, count: int) -> int:
        """Let so many frames arrive in one poll, and return the nanoseconds until TCP has them."""
        stream.set(self._next, _SHORT, self._ifindex)
        spent = run(stream.program, self._frame, count, count) * count
        received = self._socket.recv_into(self._nowhere, 0, MSG_TRUNC)
        if received != count * _SHORT:
            message = f"of {count * _SHORT} bytes TCP accepted {received}"
            raise Unmeasurable(message)
        self._next = (self._next + received) % (1 << 32)
        return spent


def _segments() -> int:
    """Return how many frames TCP has received in this namespace, /proc/net/snmp."""
    rows = [row.split() for row in Path("/proc/thread-self/net/snmp").read_text().splitlines() if row.startswith("Tcp:")]
    return int(dict(zip(rows[0], rows[1], strict=True))["InSegs"])
