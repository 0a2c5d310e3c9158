"""`netdev/features`, `netdev/set-features` and `netdev/statistics`: ports of a switch as `pktpath ethtool` asks for them.

A port is named BRIDGE/PORT, or PORT alone. Features travel as the five sets of `DeviceFeatures`, by the kernel's names.
"""

import json
from typing import Protocol

from pktpath.control.engine import SocketCommand
from pktpath.control.features_json import to_json
from pktpath.control.switch_port import SwitchPort
from pktpath.device_features import check_changeable, of_card
from pktpath.errors import BadInput, Refused
from pktpath.features import FeatureState, request
from pktpath.switch.views import DatapathView


class _Engine(Protocol):
    def view(self) -> DatapathView: ...


class _Switch(Protocol):
    """What is needed of `control.switch.Switch`."""

    ports: dict[str, SwitchPort]

    @property
    def engine(self) -> _Engine: ...

    def set_features(self, port: SwitchPort, state: FeatureState) -> None: ...


class PortFeatures:
    """The three commands."""

    def __init__(self, switch: _Switch) -> None:
        self._switch = switch

    def commands(self) -> dict[str, SocketCommand]:
        """Return them for a control server."""
        return {
            "netdev/features": SocketCommand("bridge/port", 1, 1, self.features),
            "netdev/set-features": SocketCommand("bridge/port {feature: on}", 2, 2, self.set_features),
            "netdev/statistics": SocketCommand("bridge/port", 1, 1, self.statistics),
        }

    def features(self, words: list[str]) -> str:
        """Return the features of a port as JSON."""
        return _reply(to_json(of_card(self._state(self._port(words[0])))))

    def set_features(self, words: list[str]) -> str:
        """Switch features, {kernel name: boolean}, all or none; return them before and after as JSON."""
        name, text = words
        port = self._port(name)
        state = self._state(port)
        wanted = _wanted(text)
        before = of_card(state)
        check_changeable(name, before, wanted)
        new = request(state, wanted)
        if new != state:
            self._switch.set_features(port, new)
        return _reply({"before": to_json(before), "after": to_json(of_card(new))})

    def statistics(self, words: list[str]) -> str:
        """Return what a port has counted as JSON, a list of name and number."""
        port = self._port(words[0])
        for view in self._switch.engine.view().ports:
            if view.number == port.number:
                return _reply(list(view.counters.items()))
        return _reply([])

    def _port(self, name: str) -> SwitchPort:
        bridge, slash, short = name.rpartition("/")
        port = self._switch.ports.get(short)
        if port is None or (slash and port.bridge != bridge):
            there = ", ".join(f"{port.bridge}/{name}" for name, port in self._switch.ports.items())
            message = f"{name}: the switch has no such port; it has {there or 'none'}"
            raise BadInput(message)
        return port

    def _state(self, port: SwitchPort) -> FeatureState:
        if port.features is None:
            message = f"{port.bridge}/{port.config.name}: not open: {port.fault}"
            raise Refused(message)
        return port.features


def _wanted(text: str) -> dict[str, bool]:
    try:
        wanted = json.loads(text)
    except ValueError:
        wanted = None
    if not isinstance(wanted, dict) or not all(isinstance(on, bool) for on in wanted.values()):
        message = f'{text[:60]}: features are a JSON object as {{"rx-gro": false}}'
        raise BadInput(message)
    return wanted


def _reply(value: object) -> str:
    return json.dumps(value) + "\n"
