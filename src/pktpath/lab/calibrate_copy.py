"""What a byte costs that is copied to a reader: a connection over loopback, without any privilege."""

import ctypes
import fcntl
import socket
import termios
import time
from pathlib import Path
from statistics import median

from pktpath.lab.calibrate_figures import BLOCKS, Figure, Missing, Unmeasurable, figure
from pktpath.lab.calibrate_process import pin

_QUEUE = 160 << 10
"""Bytes that wait in the socket: the default limits of a socket allow for them."""
_READ = 64 << 10
_MOST_CACHE = 64 << 20


def measure_byte(cpu: int, rounds: int) -> Figure | Missing:
    """Measure copying: the same bytes read, and thrown away by the kernel (MSG_TRUNC, tcp(7)), in turn.

    What a card writes is in memory, or at best in the last cache. So the caches are filled with something
    else first; how much faster it is without this is told beside.

    Raises:
        Unmeasurable: loopback does not carry the bytes.
        OSError: there is no loopback.

    """
    pin(cpu)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        with socket.create_connection(server.getsockname(), 2) as sender, server.accept()[0] as reader:
            reader.settimeout(2)
            sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            other = _Other(_cache_size(cpu))
            cold, warm = [], []
            for _ in range(BLOCKS):
                cold.append(_copying(sender, reader, rounds, other))
                warm.append(_copying(sender, reader, 5 * rounds, None))
    how = (
        f"recv() of {_QUEUE >> 10} KiB that wait in a socket, less the same thrown away (MSG_TRUNC), from memory; "
        f"{median(warm):.0f} ps from a cache of CPU {cpu}"
    )
    return figure("byte", cold, how)


class _Other:
    """Something else for the caches: reading it drives out what they hold."""

    def __init__(self, size: int) -> None:
        self._content = memoryview(bytearray(size))
        self._into = memoryview(bytearray(1 << 20))

    def read(self) -> None:
        """Go through it once, by copying piece for piece to one place."""
        step = len(self._into)
        for at in range(0, len(self._content), step):
            self._into[:] = self._content[at : at + step]


def _cache_size(cpu: int) -> int:
    """Return twice the bytes of the greatest cache of a CPU, within reason, in whole MiB."""
    sizes = [16 << 20]
    for path in Path(f"/sys/devices/system/cpu/cpu{cpu}/cache").glob("index*/size"):
        text = path.read_text().strip()
        factor = {"K": 1 << 10, "M": 1 << 20}.get(text[-1:], 1)
        number = text.rstrip("KM")
        sizes.append(int(number) * factor if number.isdigit() else 0)
    return min(2 * max(sizes), _MOST_CACHE) >> 20 << 20


def _copying(sender: socket.socket, reader: socket.socket, rounds: int, other: _Other | None) -> float:
    """Return picoseconds a byte."""
    content, into = bytes(_QUEUE), bytearray(_READ)
    times: dict[int, list[int]] = {0: [], int(socket.MSG_TRUNC): []}
    for _ in range(rounds):
        for flags, spent in times.items():
            sender.sendall(content)
            _wait_for(reader, _QUEUE)
            if other is not None:
                other.read()
            left = _QUEUE
            start = time.monotonic_ns()
            while left > 0:
                left -= reader.recv_into(into, min(left, _READ), flags)
            spent.append(time.monotonic_ns() - start)
    copied, thrown_away = (median(spent) for spent in times.values())
    return (copied - thrown_away) * 1000 / _QUEUE


def _wait_for(reader: socket.socket, length: int) -> None:
    end = time.monotonic() + 2
    waiting = ctypes.c_int(0)
    while waiting.value < length:
        fcntl.ioctl(reader, termios.FIONREAD, waiting)
        if time.monotonic() > end:
            message = f"a socket over loopback holds {waiting.value} bytes of {length}"
            raise Unmeasurable(message)
