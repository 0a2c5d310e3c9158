"""A control socket that a thread serves, with commands of the test's own."""

import selectors
import socket
import threading
import time

from pktpath.control.commands import Commands
from pktpath.control.unixctl import UnixctlServer
from pktpath.errors import BadInput, Refused


def some_commands():
    """Commands that answer, refuse, fail, and answer a lot."""
    commands = Commands()

    def refuse(words):
        message = "no such bridge"
        raise BadInput(message)

    def forbid(words):
        message = "the kernel says no"
        raise Refused(message)

    commands.register("echo", "[word...]", 0, None, " ".join)
    commands.register("fdb/show", "bridge", 1, 1, refuse)
    commands.register("forbid", "", 0, 0, forbid)
    commands.register("fail", "", 0, 0, lambda words: str(1 // 0))
    commands.register("much", "bytes", 1, 1, lambda words: "x" * int(words[0]))
    return commands


class Served:
    """A context manager: a server and the loop around it, as a daemon has them."""

    def __init__(self, path, commands=None, **options):
        self.path = str(path)
        self.log = []
        self.server = UnixctlServer(path, commands or some_commands(), self.log.append, **options)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.longest = 0.0
        """Seconds that one turn of the loop took at most."""

    def _run(self):
        with selectors.DefaultSelector() as selector:
            self.server.register(selector)
            while not self._stop.is_set():
                for key, events in selector.select(0.01):
                    start = time.perf_counter()
                    key.data(events)
                    self.longest = max(self.longest, time.perf_counter() - start)
            self.server.close()

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(20)

    def connect(self, timeout=5.0):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(self.path)
        sock.settimeout(timeout)
        return sock


def everything(sock, quiet=0.15):
    """What comes until nothing has come for `quiet` seconds, and whether the other side closed."""
    sock.settimeout(quiet)
    got = b""
    try:
        while piece := sock.recv(1 << 16):
            got += piece
    except TimeoutError:
        return got, False
    except ConnectionResetError:
        return got, True
    return got, True
