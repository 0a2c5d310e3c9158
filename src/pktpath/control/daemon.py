"""The daemon: one loop for the control socket, upcalls, timers, interfaces and signals around a switch.

Order of a start: lock, state, interfaces left by a killed run, ports and tables, workers, socket, metrics, ready.
Order of an end: no frame is received any more, those accepted go out, files are whole, interfaces as they were.
"""

import contextlib
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pktpath.control import privileges
from pktpath.control.config import load_config, port_from_words
from pktpath.control.config_values import SwitchConfig
from pktpath.control.dump_server import DumpServer
from pktpath.control.engine import Closes, Parts, SocketCommand
from pktpath.control.loop import Loop, Timer
from pktpath.control.plural import count_of
from pktpath.control.port_features import PortFeatures
from pktpath.control.process import Notifier, PidFile
from pktpath.control.state import Interfaces, TablesFile, make_directory
from pktpath.control.switch import Switch
from pktpath.errors import BadInput, Refused
from pktpath.host.interface import KernelInterfaces
from pktpath.host.link_watch import LinkWatch

UPCALLS = 256
"""Frames of one turn of the slow path: so long everything else waits."""
DRAIN_SECONDS = 3.0
"""How long an end waits for accepted frames."""
_TICK, _CHECK, _SAVE, _AGAIN = 1.0, 1.0, 0.1, 0.05
_log = logging.getLogger("pktpath.daemon")


class Daemon:
    """One switch with everything around it; `run` returns when it was told to end."""

    def __init__(self, config: SwitchConfig, parts: Parts, *, interfaces: Interfaces | None = None) -> None:
        """Prepare; nothing is opened before `open`.

        Args:
            config: the configuration, whose `file` is an absolute path if the process changes its directory.
            parts: the makers of what is joined.
            interfaces: who changes interfaces, the kernel's without.

        """
        self.config, self._parts = config, parts
        self.loop = Loop()
        self._interfaces = interfaces
        self._closing = contextlib.ExitStack()
        self._notifier = Notifier()
        self._watches: dict[str | None, LinkWatch] = {}
        self._check_timer: Timer | None = None
        self._save_after = 0.0
        self._signals: list[int] = []
        self._handlers: dict[int, Any] = {}
        self._opening, self._ending = True, False
        self._version = -1
        self._revalidation: Timer | None = None
        self._serving: Timer | None = None
        self._started = time.monotonic()
        self.switch: Switch
        self.commands: dict[str, SocketCommand] = {}

    # Start

    def open(self) -> None:
        """Start everything.

        Raises:
            BadInput, Refused: something cannot be; all is as it was before then.

        """
        config = self.config
        with contextlib.ExitStack() as stack:
            stack.callback(self._leave_signals)
            self._take_signals()
            stack.callback(self.loop.close)
            make_directory(config.run_dir, 0o755)
            make_directory(config.state_dir, 0o700)
            stack.callback(PidFile(config.pidfile).close)
            interfaces = self._interfaces or Interfaces(config.state_dir, KernelInterfaces())
            interfaces.recover()
            self.switch = Switch(config, self._parts, interfaces, TablesFile(config.state_dir))
            stack.callback(self.switch.close)
            self.switch.start()
            self._start_control(stack)
            self._become_user()
            if config.metrics is not None:
                from pktpath.control.metrics import serve

                where = config.places.get("metrics", "metrics")
                stack.callback(serve(config.metrics, lambda: self.loop.call(self._measured), where=where))
            self._start_timers()
            stack.callback(self._stop_watching)
            self._watch_links()
            # From here on a signal ends the run, and raises nothing.
            self._opening = False
            self._closing = stack.pop_all()
        ports = count_of(len(self.switch.ports), "port")
        _log.info("switch %s runs with %s; control socket %s", config.name, ports, config.control)

    def _start_control(self, stack: contextlib.ExitStack) -> None:
        config, switch = self.config, self.switch
        features = PortFeatures(switch)
        mine = {
            "switch/status": SocketCommand("", 0, 0, self._status),
            "switch/add-port": SocketCommand("bridge port type=TYPE [key=value]...", 3, 64, self._add_port),
            "switch/del-port": SocketCommand("bridge port", 2, 2, self._del_port),
            "switch/reload": SocketCommand("", 0, 0, lambda _: self.reload()),
            "exit": SocketCommand("[--cleanup]", 0, 1, self._exit),
            **features.commands(),
        }
        more = self._parts.commands(switch.engine, switch.tables)
        self.commands = {name: command._replace(run=self._noting(command.run)) for name, command in {**more, **mine}.items()}
        path = Path(config.control)
        server: Closes = self._parts.server(str(path), self.commands, self.loop)
        stack.callback(lambda: path.unlink(missing_ok=True))
        stack.callback(server.close)
        if self._parts.dump is not None:
            dump = DumpServer(f"{config.control}.dump", self._parts.dump(switch), self.loop)
            stack.callback(dump.close)

    def _become_user(self) -> None:
        config = self.config
        if config.user is None:
            return
        paths = [config.run_dir, config.state_dir]
        owned = [*paths, *(str(entry) for path in paths for entry in Path(path).iterdir())]
        elsewhere = any(port.config.netns for port in self.switch.ports.values())
        privileges.become(config.user, owned, namespaces=elsewhere)
        _log.info("running as %s", config.user)

    def _start_timers(self) -> None:
        loop, switch = self.loop, self.switch
        loop.watch(switch.engine.fileno(), self._upcalls)
        loop.every(_TICK, lambda: switch.engine.tick(time.monotonic()))
        loop.every(_TICK, switch.age)
        loop.every(_CHECK, switch.check_ports)
        loop.every(_SAVE, self._save)
        loop.every(_AGAIN, self._look_at_version)
        self._revalidate()
        if self._notifier.interval is not None:
            loop.every(self._notifier.interval, lambda: self._notifier.tell("WATCHDOG=1"))

    # What the loop calls

    def _upcalls(self) -> None:
        # One call to come at most: one for each event would leave the control socket ever less under a flood.
        if self._serving is not None:
            self._serving.cancel()
            self._serving = None
        if self.switch.engine.handle_upcalls(UPCALLS):
            self._serving = self.loop.after(0, self._upcalls)

    def _look_at_version(self) -> None:
        if self.switch.tables.version != self._version:
            self._revalidate()

    def _revalidate(self) -> None:
        if self._revalidation is not None:
            self._revalidation.cancel()
        self._version = self.switch.tables.version
        wait = 1.0
        try:
            wait = self.switch.engine.revalidate(time.monotonic())
        finally:
            self._revalidation = self.loop.after(max(wait, 0.001), self._revalidate)

    def _save(self) -> None:
        """Write the state; after a large one, longer pauses."""
        if self.switch.dirty and time.monotonic() >= self._save_after:
            begin = time.monotonic()
            self.switch.save()
            self._save_after = begin + 20 * (time.monotonic() - begin)

    def _watch_links(self) -> None:
        """Listen in every namespace that a port is in."""
        wanted: set[str | None] = {port.config.netns for port in self.switch.ports.values()} | {None}
        for netns in self._watches.keys() - wanted:
            self._forget(netns)
        for netns in wanted - self._watches.keys():
            with contextlib.suppress(BadInput):
                watch = self._watches[netns] = LinkWatch(netns)
                self.loop.watch(watch.fileno(), partial(self._link_changed, watch))

    def _link_changed(self, watch: LinkWatch) -> None:
        if watch.drain() and self._check_timer is None:
            # Messages come in swarms.
            self._check_timer = self.loop.after(0.02, self._check_now)

    def _check_now(self) -> None:
        self._check_timer = None
        self.switch.check_ports()

    def _forget(self, netns: str | None) -> None:
        watch = self._watches.pop(netns)
        self.loop.forget(watch.fileno())
        watch.close()

    def _stop_watching(self) -> None:
        for netns in list(self._watches):
            self._forget(netns)

    def _measured(self) -> Any:
        from pktpath.control.metrics import Measured

        features = {name: port.features for name, port in self.switch.ports.items() if port.features is not None}
        return Measured(
            self.switch.engine.view(), features, {name: port.live is not None for name, port in self.switch.ports.items()}
        )

    # Running and ending

    def run(self) -> None:
        """Run until a signal or `exit`; then end in order."""
        self._notifier.tell("READY=1", f"MAINPID={os.getpid()}", "STATUS=forwarding")
        try:
            self.loop.run()
        finally:
            self.end()

    def stop(self) -> None:
        """End the run; from a callback of the loop."""
        self.loop.stop()

    def end(self) -> None:
        """Let accepted frames leave, then close everything and restore what was changed."""
        # Another signal must not stop what restores the interfaces.
        self._ending = True
        self._notifier.tell("STOPPING=1", "STATUS=stopping")
        _log.info("stopping: no more frames are received")
        engine = self.switch.engine
        with self._closing:
            self.loop.forget(engine.fileno())
            engine.stop_receiving()
            deadline = time.monotonic() + DRAIN_SECONDS
            while not engine.idle():
                if time.monotonic() > deadline:
                    _log.warning("some accepted frames found no way out in %g s", DRAIN_SECONDS)
                    break
                if not engine.handle_upcalls(UPCALLS):
                    time.sleep(0.001)
            _log.info("forwarded: %s", self._totals())
            self.switch.dirty = True
            try:
                self.switch.save()
            except Refused as error:
                _log.warning("%s", error)
        _log.info("stopped")

    def _totals(self) -> str:
        """Say what went through, port for port, once nothing moves any more."""
        view = self.switch.engine.view()
        ports = (
            f"{port.name} rx {port.counters.get('rx_packets', 0)} tx {port.counters.get('tx_packets', 0)}"
            f" dropped {port.counters.get('tx_dropped', 0)}"
            for port in view.ports
        )
        return ", ".join([f"hit {view.hit} missed {view.missed} lost {view.lost}", *ports])

    def close(self) -> None:
        """Close what `open` opened, without ado; for who does not `run`."""
        self._closing.close()

    def _take_signals(self) -> None:
        """Handle signals in the loop; while all is being opened, end that."""
        if threading.current_thread() is not threading.main_thread():
            return
        actions: Mapping[int, Callable[[], object]] = {
            signal.SIGTERM: self.stop,
            signal.SIGINT: self.stop,
            signal.SIGHUP: self._hang_up,
        }

        def note(number: int, _frame: object) -> None:
            if self._ending:
                return
            if self._opening:
                # What is open already is closed on the way out, undisturbed.
                self._ending = True
                raise SystemExit(128 + number)
            # Python runs this between two instructions: the loop does the rest.
            self._signals.append(number)
            self.loop.wake()

        def look() -> None:
            while self._signals:
                actions[self._signals.pop(0)]()

        self.loop.on_wake = look
        self._handlers = {number: signal.signal(number, note) for number in actions}

    def _leave_signals(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def _hang_up(self) -> None:
        try:
            self.reload()
        except (BadInput, Refused) as error:
            _log.error("reload: %s; all stays as it was", error)

    # Commands

    def _noting(self, run: Callable[[list[str]], str]) -> Callable[[list[str]], str]:
        """Note when a command changed tables, for the state and for the megaflows."""

        def noted(words: list[str]) -> str:
            before = self.switch.tables.version
            try:
                return run(words)
            finally:
                changed = self.switch.tables.version != before
                self.switch.dirty |= changed
                if changed and self._revalidation is not None:
                    # What a command changed should hold when it is answered; of many megaflows, some follow.
                    self._revalidate()

        return noted

    def reload(self) -> str:
        """Read the configuration again and do what has changed; raises BadInput, and then nothing has."""
        self._notifier.reloading()
        try:
            new = load_config(self.config.file, self._parts.check)
            faults = self.switch.reload(new)
            self.config = self.switch.config
            self._watch_links()
        finally:
            self._notifier.tell("READY=1")
        for fault in faults:
            _log.warning("reload: %s", fault)
        _log.info("reloaded %s", self.config.file)
        return "".join(f"{fault}\n" for fault in faults)

    def _add_port(self, words: list[str]) -> str:
        bridge, name, *rest = words
        self.switch.add_port(bridge, port_from_words(bridge, name, rest))
        self._watch_links()
        return ""

    def _del_port(self, words: list[str]) -> str:
        self.switch.remove_port(*words)
        return ""

    def _exit(self, _words: list[str]) -> str:
        # The reply goes first.
        self.loop.after(0, self.stop)
        return ""

    def _status(self, _words: list[str]) -> str:
        switch, view = self.switch, self.switch.engine.view()
        ports = [
            {
                "bridge": port.bridge,
                "name": port.config.name,
                "type": port.config.type,
                "number": port.number,
                "openflow": port.openflow,
                "state": "open" if port.live is not None else port.fault or "closed",
                "runtime": port.at_runtime,
            }
            for port in switch.ports.values()
        ]
        status = {
            "name": self.config.name,
            "pid": os.getpid(),
            "file": self.config.file,
            "seconds": round(time.monotonic() - self._started, 1),
            "schedule": self.config.schedule,
            "workers": len(view.workers),
            "flows": view.flows,
            "masks": view.masks,
            "hit": view.hit,
            "missed": view.missed,
            "lost": view.lost,
            "bridges": [bridge.name for bridge in self.config.bridges],
            "ports": ports,
        }
        return json.dumps(status) + "\n"
