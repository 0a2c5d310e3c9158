"""One port of a running switch: its interface prepared, opened, looked after when it comes and goes, and closed."""

import logging
from collections.abc import Callable

from pktpath.control.config_values import LocalConfig, PortConfig
from pktpath.control.state import Interfaces
from pktpath.device_features import members
from pktpath.errors import BadInput, Refused
from pktpath.features import Feature, FeatureState, disable_lro, fix_features, request
from pktpath.host.features import read_features
from pktpath.host.interface import KernelInterfaces
from pktpath.host.netns import inside
from pktpath.port.live import LivePort

KERNEL_TYPES = ("packet", "xdp")
"""Types whose interface is there before us: it may go and come back, and is left as it was found."""
NETWORK_TYPES = (*KERNEL_TYPES, "tap", "internal")
_log = logging.getLogger("pktpath.port")


class SwitchPort:
    """A port that a configuration names, open or waiting for its interface."""

    def __init__(
        self, bridge: str, config: PortConfig, *, number: int, openflow: int, at_runtime: bool, local: LocalConfig | None = None
    ) -> None:
        self.bridge, self.config, self.local = bridge, config, local
        self.number, self.openflow = number, openflow
        self.at_runtime = at_runtime
        """Whether a command added it, not the configuration."""
        self.live: LivePort | None = None
        self.features: FeatureState | None = None
        self.fault = ""
        """Why it is not open."""
        self._index: int | None = None

    def open(self, opener: Callable[[PortConfig, int], LivePort], interfaces: Interfaces) -> LivePort:
        """Prepare the interface and open the port.

        Raises:
            BadInput, Refused: it cannot be opened; the interface is as it was found.

        """
        config = self.config
        kernel = KernelInterfaces()
        try:
            found = None
            if config.type in NETWORK_TYPES:
                found = kernel.index(config.interface, config.netns)
            if config.type in KERNEL_TYPES:
                self._prepare(interfaces)
            with inside(config.netns):
                live = opener(config, self.number)
            try:
                self._finish(live, kernel, interfaces, was_there=found is not None)
            except BaseException:
                live.close()
                raise
        except (BadInput, Refused) as error:
            interfaces.undo(config.interface, config.netns)
            kind = BadInput if isinstance(error, BadInput) else Refused
            raise kind(self._placed(str(error))) from None
        except BaseException:
            interfaces.undo(config.interface, config.netns)
            raise
        self.live, self.fault = live, ""
        return live

    def close(self, interfaces: Interfaces) -> None:
        """Close it and leave its interface as it was found."""
        live, self.live = self.live, None
        if live is not None:
            try:
                live.close()
            except (BadInput, Refused, OSError) as error:
                _log.warning("port %s: closing: %s", self.config.name, error)
        if self.config.type in NETWORK_TYPES:
            interfaces.undo(self.config.interface, self.config.netns)

    def gone(self) -> bool:
        """Whether the interface of an open port is not the one that was opened."""
        if self.live is None or self.config.type not in NETWORK_TYPES:
            return False
        if not self.live.alive():
            return True
        if self.config.type not in KERNEL_TYPES:
            # A TAP is ours wherever somebody has moved it.
            return False
        return KernelInterfaces().index(self.config.interface, self.config.netns) != self._index

    def may_open(self) -> bool:
        """Whether it is worth trying to open a port that is not open."""
        if self.config.type not in KERNEL_TYPES:
            return True
        return KernelInterfaces().index(self.config.interface, self.config.netns) is not None

    def switch(self, state: FeatureState) -> None:
        """Tell the port its features, and remember them."""
        if self.live is not None:
            self.live.set_features(state.active)
        self.features = state

    # Parts of opening

    def _placed(self, message: str) -> str:
        return f"{self.config.where}: {message}" if self.config.where else f"port {self.config.name}: {message}"

    def _prepare(self, interfaces: Interfaces) -> None:
        """Change what has to be changed of an interface that is there without us."""
        config = self.config
        with inside(config.netns):
            device = read_features(config.interface)
            asked = {name: on for word, on in config.device_features for name in members(device, word)}
        if "rx-lro" in device.hw and asked.get("rx-lro") is not True:
            # What LRO has merged cannot be forwarded: who sent the parts is forgotten.
            asked["rx-lro"] = False
        for name, on in asked.items():
            interfaces.change(config.interface, config.netns, "feature", name, on)
        if config.mtu is not None:
            interfaces.change(config.interface, config.netns, "mtu", "", config.mtu)
        interfaces.change(config.interface, config.netns, "up", "", True)

    def _finish(self, live: LivePort, kernel: KernelInterfaces, interfaces: Interfaces, *, was_there: bool) -> None:
        """Set features, and what a TAP that we made needs."""
        config = self.config
        self.features = self._state(live)
        live.set_features(self.features.active)
        if config.type not in NETWORK_TYPES:
            return
        if config.type not in KERNEL_TYPES:

            def change(what: str, key: str, value: object) -> None:
                # A TAP of our own goes with us; one that was there is left as it was.
                if was_there and what != "mac":
                    interfaces.change(config.interface, config.netns, what, key, value)
                else:
                    kernel.set(config.interface, config.netns, what, key, value)

            if self.local and self.local.mac:
                change("mac", "", self.local.mac)
            if config.mtu is not None:
                change("mtu", "", config.mtu)
            change("up", "", True)
            for address in self.local.address if self.local else ():
                change("address", address, True)
        self._index = kernel.index(config.interface, config.netns)

    def _state(self, live: LivePort) -> FeatureState:
        if self.features is not None and self.features.hw == live.able:
            # An interface that has come back: what was switched stays so.
            return self.features
        wanted = live.default
        state = FeatureState(hw=live.able, wanted=wanted & live.able, active=fix_features(wanted))
        asked = dict(self.config.features)
        state = request(state, asked)
        if Feature.LRO & state.wanted and "lro" not in asked:
            state = disable_lro(state)
        return state
