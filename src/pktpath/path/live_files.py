"""Captures that the switch writes: a thread of their own carries frames from the buffers to the files."""

import threading
from typing import Any

_EVERY = 0.02
"""Seconds: at 8 MiB of buffer, 400 MB a second find room."""


class CaptureFiles:
    """Drains every port that has something to drain."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._ports: list[Any] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, port: Any) -> None:
        """Look after a port if it writes a file."""
        if not port.options.get("tx_file"):
            return
        with self._lock:
            self._ports.append(port)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="captures", daemon=True)
            self._thread.start()

    def remove(self, port: Any) -> None:
        """Forget a port; what its buffer holds is written when it is closed."""
        with self._lock:
            if port in self._ports:
                self._ports.remove(port)

    def _run(self) -> None:
        while not self._stop.wait(_EVERY):
            with self._lock:
                for port in self._ports:
                    port.drain()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
