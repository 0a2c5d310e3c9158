"""What `pktpath dump` shows: the rings of watched frames as a source of records."""

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from pktpath.control.dump_records import DumpFrame, DumpInterface, DumpRequest
from pktpath.control.plural import count_of
from pktpath.errors import BadInput
from pktpath.path.live_mirror import At, dropped, want, watched

_WANTED = {"wire": At.WIRE_IN | At.WIRE_OUT, "datapath": At.DATAPATH}
_MOST_WAITING = 4096


class LiveDump:
    """All open mirrors of one switch: rings are shared, so each frame is copied once however many watch."""

    def __init__(self, switch: Any) -> None:
        """Begin with nobody watching."""
        self._switch = switch
        self._open: list[LiveMirror] = []

    def __call__(self, request: DumpRequest) -> "LiveMirror":
        """Open a mirror.

        Raises:
            BadInput: there is no such bridge or port.

        """
        if request.bridge not in self._switch.tables.slow.bridges:
            message = (
                f"{request.bridge}: there is no bridge of this name; there are {', '.join(self._switch.tables.slow.bridges)}"
            )
            raise BadInput(message)
        if request.port is not None and request.port not in self._switch.ports:
            message = f"{request.port}: there is no port of this name; there are {', '.join(self._switch.ports)}"
            raise BadInput(message)
        mirror = LiveMirror(request, self._numbers, self.pump, self._close)
        self._open.append(mirror)
        self._want()
        return mirror

    def _numbers(self) -> dict[int, tuple[str, str]]:
        return {port.number: (name, port.bridge) for name, port in self._switch.ports.items()}

    def _close(self, mirror: "LiveMirror") -> None:
        if mirror in self._open:
            self._open.remove(mirror)
            self._want()

    def _want(self) -> None:
        wanted = At(0)
        for mirror in self._open:
            wanted |= mirror.at
        for ring in self._switch.engine.mirrors():
            want(ring, wanted)

    def pump(self) -> int:
        """Hand what the rings hold to those who watch; return how many frames the rings had no room for so far."""
        lost = 0
        offset = time.time_ns() - time.monotonic_ns()
        for ring in self._switch.engine.mirrors():
            for frame in watched(ring):
                for mirror in self._open:
                    if frame.at & mirror.at:
                        mirror.put(frame, offset)
            lost += dropped(ring)
        return lost


class LiveMirror:
    """One open mirror; see `control.dump_records.DumpSource`."""

    def __init__(
        self,
        request: DumpRequest,
        numbers: Callable[[], dict[int, tuple[str, str]]],
        pump: Callable[[], int],
        close: Callable[["LiveMirror"], None],
    ) -> None:
        """Keep what is asked for."""
        self.at = _WANTED[request.at]
        self.interfaces: list[DumpInterface] = []
        self.dropped = 0
        self._request, self._numbers, self._pump, self._close = request, numbers, pump, close
        self._before = pump()
        self._known: dict[tuple[int, At], int] = {}
        self._waiting: deque[DumpFrame] = deque()

    def put(self, frame: Any, offset: int) -> None:
        """Take a frame if it is of the bridge and port asked for; `offset` leads from the monotonic clock to the day's."""
        name, bridge = self._numbers().get(frame.port, ("", ""))
        if bridge != self._request.bridge or self._request.port not in (None, name):
            return
        if len(self._waiting) >= _MOST_WAITING:
            self.dropped += 1
            return
        key = (frame.port, frame.at)
        if key not in self._known:
            self._known[key] = len(self.interfaces)
            way = {At.WIRE_IN: " in", At.WIRE_OUT: " out"}.get(frame.at, "")
            self.interfaces.append(DumpInterface(self._known[key], name + way, snaplen=self._request.snaplen))
        comment = f"gso_size {frame.gso_size}, {count_of(frame.gso_segs, 'segment')}" if frame.gso_size else ""
        data = frame.frame[: self._request.snaplen]
        length = max(frame.wire_len, len(frame.frame))
        self._waiting.append(DumpFrame(self._known[key], frame.time_ns + offset, length, data, comment))

    def take(self, most: int) -> list[DumpFrame]:
        """Return up to `most` frames that have come since the last call."""
        lost = self._pump()
        self.dropped += lost - self._before
        self._before = lost
        return [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]

    def close(self) -> None:
        """End the mirror."""
        self._close(self)
