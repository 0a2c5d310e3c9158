"""pktpath's own switch in the bench: the daemon that a user runs, its configuration, and its counters."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pktpath.control.unixctl_client import call
from pktpath.errors import Refused
from pktpath.lab.bench.switch_peers import Forwarder
from pktpath.lab.bench.switch_process import Daemon, started
from pktpath.lab.bench.switch_topology import IN_DEVICE, OUT_DEVICE, Namespace, Topology

Setting = str | int | bool | Sequence[str] | Sequence[int] | Mapping[str, bool]
START = 300.0
"""Seconds that a start may take: the first one on a machine compiles."""
_NAME = "bench"


def switch_toml(
    directory: Path,
    ports: Mapping[str, Mapping[str, Setting]],
    flows: Sequence[str],
    settings: Mapping[str, Setting] | None = None,
    groups: Sequence[str] = (),
) -> str:
    """Return the configuration of a switch with one bridge.

    Args:
        directory: for its socket, pid file and state.
        ports: the keys of each port by its name; their OpenFlow numbers are 1, 2 … in this order.
        flows: in ovs-ofctl's syntax.
        settings: further keys of the switch.
        groups: in ovs-ofctl's syntax.

    """
    lines = ["[switch]"]
    switch: dict[str, Setting] = {"name": _NAME, "run_dir": str(directory), "state_dir": str(directory / "state")}
    lines += [f"{key} = {_toml(value)}" for key, value in {**switch, **(settings or {})}.items()]
    lines += ["", "[bridge.br0]", f"flows = {_toml(flows)}", f"groups = {_toml(groups)}"]
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
        """Return the answer to a control command.

        Raises:
            Refused: no answer, or an error.

        """
        return call(self._socket, command, arguments, timeout=10)

    def port(self, name: str, counter: str) -> int:
        """Return a counter of a port."""
        return next(int(port["counters"][counter]) for port in self._view()["ports"] if port["name"] == name)

    def workers(self, counter: str) -> int:
        """Return a counter, summed over the datapath's threads."""
        return sum(int(worker["counters"][counter]) for worker in self._view()["workers"])

    def _view(self) -> dict[str, Any]:
        datapath: dict[str, Any] = json.loads(self.ask("pktpath/view"))["datapath"]
        return datapath


@contextmanager
def switch(
    space: Namespace,
    directory: Path,
    ports: Mapping[str, Mapping[str, Setting]],
    flows: Sequence[str],
    settings: Mapping[str, Setting] | None = None,
    groups: Sequence[str] = (),
    *,
    cpus: str = "",
) -> Iterator[Switch]:
    """Run `pktpath switch run` as long as the context lasts; arguments as of `switch_toml`.

    Raises:
        PeerMissingError: it does not start.

    """
    directory.mkdir(mode=0o700, exist_ok=True)
    config = directory / "switch.toml"
    config.write_text(switch_toml(directory, ports, flows, settings, groups))
    words = space.words(sys.executable, "-m", "pktpath", "switch", "run", config)
    env = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)}
    with started(words, directory / "switch.log", cpus=cpus, env=env) as daemon:
        made = Switch(daemon, directory / f"{_NAME}.ctl")

        def ready() -> bool:
            with suppress(Refused):
                return bool(made.ask("version"))
            return False

        daemon.wait_until(ready, "pktpath switch run", seconds=START)
        yield made


def pktpath(
    kind: str = "packet",
    mode: str = "auto",
    *,
    flows: Sequence[str] = ("actions=NORMAL",),
    groups: Sequence[str] = (),
    features: Mapping[str, bool] | None = None,
    settings: Mapping[str, Setting] | None = None,
    poll: bool = False,
    bypass: bool = False,
    seen: Callable[[Switch], None] | None = None,
) -> Forwarder:
    """Return a forwarder: pktpath's switch between two ports of a kind.

    Args:
        kind: packet or xdp.
        mode: ring or mmsg; native or generic.
        flows: the flow table; ports are 1 and 2.
        groups: the group table.
        features: of both ports, such as gro off.
        settings: keys of the switch, such as its weight.
        poll: poll on the core of forwarders, instead of sleeping until frames come.
        bypass: send around the queueing discipline, as DPDK's af_packet does.
        seen: called with the running switch.

    """

    @contextmanager
    def forward(place: Topology, cpus: str) -> Iterator[Sequence[Daemon]]:
        keys: dict[str, Setting] = {"type": kind, "mode": mode}
        if bypass:
            keys["qdisc_bypass"] = True
        if features:
            keys["features"] = features
        chosen: dict[str, Setting] = {**(settings or {}), **({"schedule": "poll", "cores": [int(cpus or 1)]} if poll else {})}
        ports = dict.fromkeys((IN_DEVICE, OUT_DEVICE), keys)
        own = place.directory / "pktpath"
        with switch(place.box, own, ports, flows, chosen, groups, cpus="" if poll else cpus) as made:
            if seen is not None:
                seen(made)
            yield (made.daemon,)

    return forward
