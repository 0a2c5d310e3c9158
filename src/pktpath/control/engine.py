"""What the daemon needs of those that it joins: the engine that moves frames, the tables, openers, a control server.

All methods are called from the loop's thread, never from two threads at once. None may block for longer than
said; a kernel or a peer that refuses is `Refused`, wrong words are `BadInput`, and then nothing has changed.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from pktpath.control.config_values import BridgeConfig, Entry, MirrorConfig, PortConfig, SwitchConfig
from pktpath.control.dump_records import DumpRequest, DumpSource
from pktpath.control.loop import Loop
from pktpath.features import FeatureState
from pktpath.port.live import EnginePort, LivePort
from pktpath.switch.slow_path import SlowPath
from pktpath.switch.views import DatapathView, FlowView

__all__ = ["Closes", "Engine", "EnginePort", "Parts", "SocketCommand", "Tables"]


class Engine(Protocol):
    """The workers with their queues, the caches and megaflows; it asks the slow path that it was made with."""

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when there is something for `handle_upcalls`."""
        ...

    def handle_upcalls(self, most: int) -> bool:
        """Translate and send on up to `most` frames that wait for the slow path; clear the descriptor.

        Returns:
            Whether more are waiting: then the daemon calls again after everything else had its turn.

        """
        ...

    def revalidate(self, now: float) -> float:
        """Look again at some megaflows: for a few milliseconds, then go on at the next call.

        Expires what is idle, translates again what `slow_path.version` made doubtful, credits statistics to the rules.

        Args:
            now: monotonic seconds.

        Returns:
            Seconds until it should be called again; the daemon calls earlier after `slow_path.version` has grown.

        """
        ...

    def tick(self, now: float) -> None:
        """Once a second: sample the load of workers, look after ports that need somebody (a capture's file)."""
        ...

    def start(self) -> None:
        """Start the workers; ports may have been added before, and may be added after."""
        ...

    def add_port(self, port: EnginePort) -> None:
        """Begin to receive from and to send to a port. All or nothing."""
        ...

    def remove_port(self, number: int) -> None:
        """Stop using a port and forget the megaflows that name it.

        Frames already received from it go on; frames that wait for its transmit are sent while it is alive, for up to 100 ms.
        When this returns, no worker touches its queues, and the caller closes the port.
        """
        ...

    def set_features(self, number: int, state: FeatureState) -> None:
        """Change what the path does on a port from the next batch on. The port itself has been told before."""
        ...

    def configure(self, config: SwitchConfig) -> None:
        """Take over what can change while it runs: emc, emc_insert_inv_prob, flow_limit, max_idle_ms, weight, the delays."""
        ...

    def flush(self) -> None:
        """Forget all megaflows and what the caches hold."""
        ...

    def stop_receiving(self) -> None:
        """Take no more frames from any port; return at once. Those accepted go on to where they go."""
        ...

    def idle(self) -> bool:
        """Whether, after `stop_receiving`, no accepted frame is left: held by GRO, in a ring, waiting for the slow path."""
        ...

    def stop(self) -> None:
        """End the workers and wait for them, started or not; what was not sent is counted as dropped.

        Ports are closed by the caller after this.
        """
        ...

    def close(self) -> None:
        """Give back memory and descriptors; all ports are closed."""
        ...

    def view(self) -> DatapathView:
        """Return the datapath with all its counters."""
        ...

    def flows(self) -> Iterable[FlowView]:
        """Return the megaflows."""
        ...


class Tables(SlowPath, Protocol):
    """The bridges with their tables. A kind is one of `config_values.TABLES`; texts are in ovs-ofctl's syntax."""

    def add_bridge(self, bridge: BridgeConfig) -> None:
        """Make a bridge without ports and with empty tables; of the value, only its own settings count."""
        ...

    def change_bridge(self, bridge: BridgeConfig) -> None:
        """Take over the settings of a bridge that is there (MAC ageing and table size)."""
        ...

    def remove_bridge(self, name: str) -> None:
        """Forget a bridge; its ports are gone before."""
        ...

    def add_port(self, bridge: str, number: int, openflow: int, port: PortConfig) -> None:
        """Make a port known: `number` is what keys and outputs say, `openflow` and the name what flows say."""
        ...

    def remove_port(self, bridge: str, number: int) -> None:
        """Forget a port and the addresses learned there."""
        ...

    def set_mirrors(self, bridge: str, mirrors: Sequence[MirrorConfig]) -> None:
        """Replace the mirrors of a bridge; a port that is not there selects nothing."""
        ...

    def add(self, bridge: str, kind: str, text: str) -> None:
        """Add an entry, or replace the one of the same identity.

        Raises:
            BadInput: the text is wrong, or names what is not there.

        """
        ...

    def remove(self, bridge: str, kind: str, text: str) -> None:
        """Remove the entry of the same identity (a flow's table, priority and match; a number), if it is there."""
        ...

    def dump(self, bridge: str, kind: str) -> list[str]:
        """Return all entries as texts that `add` reads, without counters and ages, in a stable order and form."""
        ...

    def age(self, now: float) -> None:
        """Forget learned addresses and flows whose time is over; `now` is in monotonic seconds."""
        ...


class SocketCommand(NamedTuple):
    """One command of the control socket."""

    usage: str
    """What follows its name in the list of commands."""
    least: int
    most: int
    """Numbers of arguments."""
    run: Callable[[list[str]], str]
    """Returns the reply's text; BadInput and Refused become error replies."""


class Closes(Protocol):
    """Something that is open."""

    def close(self) -> None:
        """Close it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The makers of everything that the daemon joins; tests hand in their own."""

    check: Callable[[BridgeConfig, str, Entry], None]
    """As `config.Check`: whether the text of an entry is right; names of ports may be those of the bridge's."""
    tables: Callable[[SwitchConfig], Tables]
    engine: Callable[[SwitchConfig, Tables], Engine]
    open_port: Callable[[Engine, PortConfig, int], LivePort]
    """Open one port, whose frames have this number as `in_port`; type internal is a bridge's LOCAL port.

    The thread is in the network namespace of its interface. Interfaces are up and have their MTU already; those of a TAP get
    them, and their addresses, after this."""
    server: Callable[[str, Mapping[str, SocketCommand], Loop], Closes]
    """Serve commands on a socket of this path (mode 0600), in the loop; a socket that nobody serves any more is replaced."""
    commands: Callable[[Engine, Tables], Mapping[str, SocketCommand]] = lambda _engine, _tables: {}
    """More commands: dpctl/show and its kind."""
    dump: Callable[[Any], Callable[[DumpRequest], DumpSource]] | None = None
    """From the `control.switch.Switch`, what opens a mirror for `pktpath dump`."""
