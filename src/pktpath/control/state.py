"""What a restart needs, in files of `state_dir`: tables and ports changed at runtime, and what interfaces were before.

Two files, each written beside, synced and renamed, mode 0600. `interfaces.json` is written before each change of an
interface, so that the next start can undo what a killed process left. `tables.json` is written soon after a
change. A file that is not ours, or not whole, is moved aside and named in one line.
"""

import contextlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from pktpath.control.plural import count_of
from pktpath.errors import BadInput, Refused

FORMAT = "pktpath switch state 1"
_MODE = 0o600
_MOST_BYTES = 256 << 20
_log = logging.getLogger("pktpath.state")


class _NoState(ValueError):  # noqa: N818  it says what the file is
    """The file is not ours."""

    def __str__(self) -> str:
        return "no state of a switch"


class StateFile:
    """One JSON object on disk."""

    def __init__(self, directory: str, name: str) -> None:
        self.path = Path(directory) / name

    def load(self, check: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Return the content, nothing where there is no file or a bad one, which is moved aside.

        Args:
            check: raises ValueError, TypeError or KeyError where the content is not what it should be.

        """
        try:
            with os.fdopen(os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
                data = file.read(_MOST_BYTES)
            document = json.loads(data)
            if not isinstance(document, dict) or document.pop("format", None) != FORMAT:
                raise _NoState
            check(document)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            self._move_aside(error)
            return {}
        return document

    def save(self, content: Mapping[str, Any]) -> None:
        """Write the content; when this returns it is on the disk.

        Raises:
            Refused: it cannot be written.

        """
        data = json.dumps({"format": FORMAT, **content}, indent=1).encode()
        beside = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        try:
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _MODE), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.path)
            directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            with contextlib.suppress(OSError):
                beside.unlink()
            message = f"{self.path}: cannot keep the state: {error.strerror}"
            raise Refused(message) from error

    def _move_aside(self, error: Exception) -> None:
        why = error.strerror if isinstance(error, OSError) and error.strerror else _short(error)
        aside = self.path.with_name(f"{self.path.name}.bad-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}")
        try:
            self.path.rename(aside)
            _log.warning("%s: %s; moved to %s, starting without it", self.path, why, aside.name)
        except OSError as fault:
            _log.warning("%s: %s; it cannot be moved aside (%s), starting without it", self.path, why, fault.strerror)


def _short(error: Exception) -> str:
    return f"not whole: {error}" if isinstance(error, json.JSONDecodeError) else str(error).replace("\n", " ")[:200]


def make_directory(path: str, mode: int) -> None:
    """Make a directory with all above it.

    Raises:
        Refused: it cannot be made, or is no directory that can be written.

    """
    try:
        Path(path).mkdir(mode=mode, parents=True, exist_ok=True)
    except OSError as error:
        message = f"{path}: {error.strerror}: choose run_dir and state_dir in [switch]"
        raise Refused(message) from error
    if not os.access(path, os.W_OK | os.X_OK):
        message = f"{path}: no permission to write there: choose run_dir and state_dir in [switch]"
        raise Refused(message)


# What was changed of interfaces


class Change(NamedTuple):
    """One thing of one interface that is not as it was found."""

    device: str
    netns: str | None
    number: int
    """The interface's number: a new interface of the same name is another one."""
    what: str
    """mtu, up, feature, address, promisc: a word of `Changer`."""
    key: str
    """Which feature, which address; empty for the others."""
    old: Any
    new: Any


class Changer(Protocol):
    """Reads and changes interfaces; `control.interfaces.KernelInterfaces` is the real one."""

    def index(self, device: str, netns: str | None) -> int | None:
        """Return the number of an interface, None when there is none."""
        ...

    def get(self, device: str, netns: str | None, what: str, key: str) -> Any:
        """Return how it is now, as JSON has it."""
        ...

    def set(self, device: str, netns: str | None, what: str, key: str, value: Any) -> None:
        """Change it; raises Refused."""
        ...


class Interfaces:
    """Changes of interfaces, each noted on disk before it is made, undone in the opposite order."""

    def __init__(self, directory: str, changer: Changer) -> None:
        self._file = StateFile(directory, "interfaces.json")
        self._changer = changer
        self._changes: list[Change] = []

    def recover(self) -> None:
        """Undo what a process that was killed has left."""
        document = self._file.load(_check_changes)
        self._changes = [Change(**item) for item in document.get("changes", ())]
        if self._changes:
            _log.info("the last run did not end in order: restoring %s of interfaces", count_of(len(self._changes), "setting"))
            self.undo()

    def change(self, device: str, netns: str | None, what: str, key: str, value: Any) -> None:
        """Change one thing; nothing happens where it is so already.

        Raises:
            Refused: the kernel says no; nothing is changed and nothing is left to undo.

        """
        index = self._changer.index(device, netns)
        if index is None:
            message = f"{device}: no such interface" + (f" in the network namespace {netns}" if netns else "")
            raise Refused(message)
        old = self._changer.get(device, netns, what, key)
        if old == value:
            return
        change = Change(device, netns, index, what, key, old, value)
        self._changes.append(change)
        try:
            self._save()
            self._changer.set(device, netns, what, key, value)
        except BaseException:
            self._changes.remove(change)
            with contextlib.suppress(Refused):
                self._save()
            raise

    def undo(self, device: str | None = None, netns: str | None = None) -> None:
        """Undo what was changed of one interface, or of all; what cannot be undone is one line of the log."""
        for change in reversed(self._changes.copy()):
            if (device is None or (change.device, change.netns) == (device, netns)) and self._undo(change):
                self._changes.remove(change)
        try:
            self._save()
        except Refused as error:
            _log.warning("%s", error)

    def _undo(self, change: Change) -> bool:
        """Undo one change; return whether there is nothing left to do about it."""
        label = f"{change.device}: {change.what}{f' {change.key}' if change.key else ''}"
        try:
            if self._changer.index(change.device, change.netns) != change.number:
                _log.info("%s: not restored: the interface is gone", label)
                return True
            now = self._changer.get(change.device, change.netns, change.what, change.key)
            if now == change.old:
                return True
            if now != change.new:
                _log.info("%s: not restored to %s: somebody else made it %s", label, change.old, now)
                return True
            self._changer.set(change.device, change.netns, change.what, change.key, change.old)
        except BadInput as error:
            _log.info("%s: not restored: %s", label, error)
            return True
        except Refused as error:
            _log.warning("%s: not restored to %s: %s", label, change.old, error)
            return False
        _log.info("%s: restored to %s", label, change.old)
        return True

    def _save(self) -> None:
        self._file.save({"changes": [change._asdict() for change in self._changes]})


def _check_changes(document: dict[str, Any]) -> None:
    for item in document["changes"]:
        change = Change(**item)
        texts = (change.device, change.what, change.key)
        if not all(isinstance(text, str) for text in texts) or type(change.number) is not int:
            message = "a change of an interface that is none"
            raise ValueError(message)
        if not isinstance(change.netns, str | None):
            message = "a network namespace that is none"
            raise TypeError(message)


# Tables and ports


class BridgeState(NamedTuple):
    """What was changed of a bridge at runtime: beside what the configuration says."""

    added: Mapping[str, list[str]]
    """By kind (flows, groups, meters): texts that the configuration does not have."""
    removed: Mapping[str, list[str]]
    """Texts of the configuration that were deleted."""
    ports: Mapping[str, dict[str, Any]]
    """Ports added, by name, as tables of a configuration."""
    gone: list[str]
    """Ports of the configuration that were deleted."""


class TablesFile:
    """The changes of all bridges on disk."""

    def __init__(self, directory: str) -> None:
        self._file = StateFile(directory, "tables.json")

    def load(self) -> dict[str, BridgeState]:
        """Return the changes by the name of the bridge."""
        document = self._file.load(_check_bridges)
        return {name: BridgeState(**item) for name, item in document.get("bridges", {}).items()}

    def save(self, bridges: Mapping[str, BridgeState]) -> None:
        """Write them; raises Refused."""
        self._file.save({"bridges": {name: state._asdict() for name, state in bridges.items()}})


def _check_bridges(document: dict[str, Any]) -> None:
    for name, item in document["bridges"].items():
        state = BridgeState(**item)
        texts = [*state.gone, *state.ports]
        for kinds in (state.added, state.removed):
            for kind, entries in kinds.items():
                texts += [kind, *entries]
        if not all(isinstance(text, str) for text in texts) or not all(isinstance(port, dict) for port in state.ports.values()):
            message = f"bridge {name} is not as it was written"
            raise ValueError(message)
