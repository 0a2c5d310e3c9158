"""An engine, tables, ports and a control server that move nothing: what the daemon joins, for its tests."""

import fcntl
import json
import os
import re
import socket
import struct
from contextlib import suppress
from pathlib import Path

from pktpath.control.engine import Parts
from pktpath.errors import BadInput, Refused
from pktpath.features import PORT_FEATURES
from pktpath.host.interface import KernelInterfaces
from pktpath.switch.slow_path import Translation
from pktpath.switch.views import DatapathView, PortView, QueueView, WorkerView

_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 2, 0x1000
COUNTERS = {"rx_packets": 5, "rx_bytes": 500, "tx_packets": 3, "merged": 2, "queued": 1, "drop_malformed": 4}
WORKER = WorkerView(
    core=1, numa=0, isolated=False, queues=(QueueView("p1", 0, True, 0.25),), overhead=0.01,
    counters={"packets": 5, "emc_hits": 2, "megaflow_hits": 1, "upcalls": 2, "lost": 0}, hertz=1e9,
)  # fmt: skip


class FakePort:
    """A port that is open, and nothing more; an internal one is a real TAP."""

    rx = ()
    mtu = 1500

    def __init__(self, config, log):
        self.name, self.kind, self.options = config.name, config.type, {}
        self.able, self.default = PORT_FEATURES.hw, PORT_FEATURES.active
        self.active = None
        self._log = log
        self._fd = -1
        self._tap = config.type in ("tap", "internal")
        log.append(("open", config.name))
        if self._tap and os.geteuid() == 0:
            self._fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
            fcntl.ioctl(self._fd, _TUNSETIFF, struct.pack("16sH22x", config.interface.encode(), _IFF_TAP | _IFF_NO_PI))
        self._index = KernelInterfaces().index(config.interface)

    def tx(self, worker):
        return 0, 0

    def set_features(self, active):
        self.active = active
        self._log.append(("features", self.name))

    def alive(self):
        return True

    def close(self):
        self._log.append(("close", self.name))
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class FakeTables:
    """Tables that keep texts; a flow's identity is what stands before its actions."""

    def __init__(self, _config):
        self.version = 1
        self.entries = {}
        self.ports = {}
        self.mirrors = {}

    def _changed(self):
        self.version += 1

    def add_bridge(self, bridge):
        self.entries[bridge.name] = {"flows": {}, "groups": {}, "meters": {}}
        self._changed()

    def change_bridge(self, bridge):
        self._changed()

    def remove_bridge(self, name):
        del self.entries[name]
        self._changed()

    def add_port(self, bridge, number, openflow, port):
        self.ports[number] = (bridge, openflow, port.name)
        self._changed()

    def remove_port(self, bridge, number):
        assert self.ports.pop(number)[0] == bridge
        self._changed()

    def set_mirrors(self, bridge, mirrors):
        self.mirrors[bridge] = mirrors
        self._changed()

    def add(self, bridge, kind, text):
        check(None, kind, type("Entry", (), {"text": text}))
        self.entries[bridge][kind][_identity(text)] = text.replace(" ", "")
        self._changed()

    def remove(self, bridge, kind, text):
        self.entries[bridge][kind].pop(_identity(text), None)
        self._changed()

    def dump(self, bridge, kind):
        return sorted(self.entries[bridge][kind].values())

    def age(self, now):
        pass

    def translate(self, key, *, packets=1, learn=True):
        return Translation(0, ())

    def credit(self, translation, packets, size, used):
        pass


def _identity(text):
    return text.replace(" ", "").partition("actions=")[0].partition("bands=")[0]


class FakeEngine:
    """An engine that counts its calls; after `stop_receiving` it is idle when upcalls were handled three times."""

    def __init__(self, config, tables, log):
        self.config, self.log = config, log
        self.ports = {}
        self.refuses = set()
        self.handled = 0
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._receiving = True
        log.append(("engine",))

    def fileno(self):
        return self._event

    def raise_upcall(self):
        os.eventfd_write(self._event, 1)

    def handle_upcalls(self, most):
        with suppress(BlockingIOError):
            os.eventfd_read(self._event)
        self.handled += 1
        self.log.append(("upcalls",))
        return False

    def revalidate(self, now):
        self.log.append(("revalidate",))
        return 0.5

    def tick(self, now):
        self.log.append(("tick",))

    def start(self):
        self.log.append(("start",))

    def add_port(self, port):
        if port.port.name in self.refuses:
            message = f"{port.port.name}: the engine refuses"
            raise Refused(message)
        self.ports[port.number] = port
        self.log.append(("add", port.port.name, port.number))

    def remove_port(self, number):
        self.log.append(("remove", self.ports.pop(number).port.name))

    def set_features(self, number, state):
        if "features" in self.refuses:
            message = "the engine refuses features"
            raise Refused(message)
        self.ports[number] = self.ports[number]._replace(features=state)

    def configure(self, config):
        self.config = config

    def flush(self):
        pass

    def stop_receiving(self):
        self._receiving = False
        self.handled = 0
        self.log.append(("stop_receiving",))

    def idle(self):
        return self.handled >= 3

    def stop(self):
        self.log.append(("stop",))

    def close(self):
        os.close(self._event)
        self.log.append(("engine closed",))

    def view(self):
        ports = tuple(
            PortView(entry.number, entry.port.name, entry.port.kind, entry.bridge, entry.openflow, {}, COUNTERS)
            for entry in self.ports.values()
        )
        return DatapathView("pktpath@ovs-pktpath", 10, 2, 1, 7, 3, 15, ports, (WORKER,))

    def flows(self):
        return ()


class FakeServer:
    """Commands over JSON-RPC, one request a connection."""

    def __init__(self, path, commands, loop):
        self._commands, self._loop = commands, loop
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        Path(path).unlink(missing_ok=True)
        self._socket.bind(path)
        self._socket.listen(8)
        loop.watch(self._socket.fileno(), self._accept)

    def _accept(self):
        connection, _ = self._socket.accept()
        with connection:
            request = json.loads(connection.recv(1 << 16))
            reply = {"id": request["id"], "result": None, "error": None}
            try:
                reply["result"] = self._run(request["method"], request["params"])
            except (BadInput, Refused) as error:
                reply["error"] = str(error)
            connection.sendall(json.dumps(reply).encode())

    def _run(self, name, words):
        command = self._commands.get(name)
        if command is None:
            message = f'"{name}" is not a valid command'
            raise BadInput(message)
        if not command.least <= len(words) <= command.most:
            message = f"wrong number of words; usage: {command.usage}"
            raise BadInput(message)
        return command.run(words)

    def close(self):
        self._loop.forget(self._socket.fileno())
        self._socket.close()


def check(_bridge, kind, entry):
    """Take what looks like an entry of a table."""
    wanted = {"flows": r"actions=\S", "groups": r"group_id=\d", "meters": r"meter=\d"}[kind]
    if not re.search(wanted, entry.text):
        message = f"{entry.text!r}: there is no {wanted}"
        raise BadInput(message)


def fake_parts(log=None, *, refuse=(), dump=None, commands=None):
    """Return parts that write what happens into `log`; ports named in `refuse` cannot be opened."""
    log = [] if log is None else log

    def open_port(_engine, config, _number):
        if config.name in refuse:
            message = f"{config.name} cannot be opened"
            raise Refused(message)
        return FakePort(config, log)

    return Parts(
        check=check,
        tables=FakeTables,
        engine=lambda config, tables: FakeEngine(config, tables, log),
        open_port=open_port,
        server=FakeServer,
        dump=dump,
        commands=commands or (lambda engine, tables: flow_commands(tables)),
    )


def flow_commands(tables):
    """Return add-flow, del-flows and dump-flows in a simple form."""
    from pktpath.control.engine import SocketCommand

    def add(words):
        tables.add(words[0], "flows", words[1])
        return ""

    def remove(words):
        tables.remove(words[0], "flows", words[1])
        return ""

    return {
        "ofctl/add-flow": SocketCommand("bridge flow", 2, 2, add),
        "ofctl/del-flows": SocketCommand("bridge flow", 2, 2, remove),
        "ofctl/dump-flows": SocketCommand("bridge", 1, 1, lambda words: json.dumps(tables.dump(words[0], "flows"))),
    }
