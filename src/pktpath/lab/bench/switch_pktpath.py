"""pktpath's own switch in the bench: the daemon that a user runs, its configuration, and its counters."""

import json
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pktpath.errors import Refused
from pktpath.lab.bench.switch_peers import Forwarder
from pktpath.lab.bench.switch_process import Daemon, PeerMissingError, started
from pktpath.lab.bench.switch_topology import IN_DEVICE, OUT_DEVICE, Namespace, Topology

Setting = str | int | bool | Sequence[str] | Sequence[int] | Mapping[str, bool]
_START = 300.0
"""Seconds that a start may take: the first one on a machine compiles."""
_NAME = "bench"


def switch_toml(
    directory: Path,
    ports: Mapping[str, Mapping[str, Setting]],
    flows: Sequence[str],
    settings: Mapping[str, Setting] | None = None,
) -> str:
    """Return the configuration of a switch with one bridge.

    Args:
        directory: for its socket, pid file and state.
        ports: the keys of each port by its name; their OpenFlow numbers are 1, 2 … in this order.
        flows: in ovs-ofctl's syntax.
        settings: further keys of the switch.

    """
    lines = ["[switch]"]
    switch: dict[str, Setting] = {"name": _NAME, "run_dir": str(directory), "state_dir": str(directory / "state")}
    lines += [f"{key} = {_toml(value)}" for key, value in {**switch, **(settings or {})}.items()]
    lines += ["", "[bridge.br0]", f"flows = {_toml(flows)}"]
    for number, (name, keys) in enumerate(ports.items(), start=1):
        lines += ["", f"[bridge.br0.port.{name}]", f"openflow = {number}"]
        lines += [f"{key} = {_toml(value)}" for key, value in keys.items()]
    return "\n".join(lines) + "\n"


def _toml(value: Setting) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    # Strings, numbers, truth and lists of them are written as JSON writes them.
    return json.dumps(value if isinstance(value, str | int) else list(value))


class Switch:
    """A running switch of pktpath's."""

    def __init__(self, daemon: Daemon, path: Path) -> None:
        self.daemon = daemon
        self._socket = path

    def ask(self, command: str, *arguments: str) -> str:
        """Return the answer to a control command (JSON-RPC 1.0, as ovs-appctl speaks it).

        Raises:
            Refused: no answer, or an error.

        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
            control.settimeout(10)
            try:
                control.connect(str(self._socket))
                control.sendall(json.dumps({"id": 0, "method": command, "params": arguments}).encode())
                pieces = b""
                while piece := control.recv(1 << 18):
                    pieces += piece
                    with suppress(ValueError):
                        answer = json.loads(pieces)
                        if answer.get("error") is not None:
                            raise Refused(str(answer["error"]).strip())
                        return str(answer["result"])
            except OSError as error:
                message = f"pktpath's switch: {command}: {error.strerror or error}"
                raise Refused(message) from error
        message = f"pktpath's switch: no answer to {command}"
        raise Refused(message)

    def port(self, name: str, counter: str) -> int:
        """Return a counter of a port."""
        return next((int(found["counters"][counter]) for found in self._parts("ports") if found.get("name") == name), 0)

    def workers(self, counter: str) -> int:
        """Return a counter, summed over the datapath's threads."""
        return sum(int(found["counters"].get(counter, 0)) for found in self._parts("workers"))

    def _parts(self, name: str) -> Iterator[dict[str, Any]]:
        pending: list[Any] = [json.loads(self.ask("pktpath/view"))]
        while pending:
            part = pending.pop()
            if isinstance(part, dict):
                yield from (item for item in part.get(name, ()) if isinstance(item, dict) and "counters" in item)
                pending += part.values()
            elif isinstance(part, list):
                pending += part


def missing() -> str:
    """Say why pktpath's switch cannot run, or nothing."""
    return "" if find_spec("pktpath.cli.switch") else "this pktpath has no 'switch run'"


@contextmanager
def switch(
    space: Namespace,
    directory: Path,
    ports: Mapping[str, Mapping[str, Setting]],
    flows: Sequence[str],
    settings: Mapping[str, Setting] | None = None,
    *,
    cpus: str = "",
) -> Iterator[Switch]:
    """Run `pktpath switch run` as long as the context lasts; arguments as of `switch_toml`.

    Raises:
        PeerMissingError: there is no such command, or it does not start.

    """
    if why := missing():
        raise PeerMissingError(why)
    directory.mkdir(mode=0o700, exist_ok=True)
    config = directory / "switch.toml"
    config.write_text(switch_toml(directory, ports, flows, settings))
    words = space.words(sys.executable, "-m", "pktpath", "switch", "run", config)
    env = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)}
    with started(words, directory / "switch.log", cpus=cpus, env=env) as daemon:
        made = Switch(daemon, directory / f"{_NAME}.ctl")

        def ready() -> bool:
            with suppress(Refused):
                return bool(made.ask("version"))
            return False

        daemon.wait_until(ready, "pktpath switch run", seconds=_START)
        yield made


def pktpath(
    kind: str = "packet",
    mode: str = "vnet",
    *,
    flows: Sequence[str] = ("actions=NORMAL",),
    features: Mapping[str, bool] | None = None,
    poll: bool = False,
    seen: Callable[[Switch], None] | None = None,
) -> Forwarder:
    """Return a forwarder: pktpath's switch between two ports of a kind.

    Args:
        kind: packet or xdp.
        mode: vnet or ring; native or generic.
        flows: the flow table; ports are 1 and 2.
        features: of both ports, such as gro off.
        poll: poll on the core of forwarders, instead of sleeping until frames come.
        seen: called with the running switch.

    """

    @contextmanager
    def forward(place: Topology, cpus: str) -> Iterator[Sequence[Daemon]]:
        keys: dict[str, Setting] = {"type": kind, "mode": mode}
        if features:
            keys["features"] = features
        settings: dict[str, Setting] = {"schedule": "poll", "cores": [int(cpus or 1)]} if poll else {}
        ports = dict.fromkeys((IN_DEVICE, OUT_DEVICE), keys)
        with switch(place.box, place.directory / "pktpath", ports, flows, settings, cpus="" if poll else cpus) as made:
            if seen is not None:
                seen(made)
            yield (made.daemon,)

    return forward
