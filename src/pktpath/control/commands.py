"""The commands of a control socket: names, words, and what they do."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from pktpath import __version__
from pktpath.errors import BadInput

Handler = Callable[[list[str]], str]
"""Takes the words after the command; returns the text. `BadInput` and `Refused` are its error texts."""


class Command(NamedTuple):
    """One command."""

    usage: str
    min_args: int
    max_args: int | None
    """None: any number."""
    handler: Handler


class Commands:
    """A register of commands; it has `help`, `list-commands` and `version` from the start."""

    def __init__(self, program: str = "pktpath", version: str = __version__) -> None:
        self._commands: dict[str, Command] = {}
        for name in ("help", "list-commands"):
            self.register(name, "", 0, 0, lambda _words: self.text())
        self.register("version", "", 0, 0, lambda _words: f"{program} {version}\n")

    def register(self, name: str, usage: str, min_args: int, max_args: int | None, handler: Handler) -> None:
        """Add a command; a name that is there is replaced."""
        self._commands[name] = Command(usage, min_args, max_args, handler)

    def __contains__(self, name: str) -> bool:
        return name in self._commands

    def all(self) -> dict[str, Command]:
        """Return all commands by name."""
        return dict(self._commands)

    def text(self) -> str:
        """Return what `list-commands` of Open vSwitch 3.1 prints."""
        rows = [f"  {name:<23} {command.usage}\n" for name, command in sorted(self._commands.items())]
        return "The available commands are:\n" + "".join(rows)

    def run(self, name: str, words: Sequence[object]) -> str:
        """Run a command and return its text.

        Raises:
            BadInput: there is none of this name, or the words are too few, too many, or no strings; or as its handler.
            Refused: as its handler.

        """
        command = self._commands.get(name)
        if command is None:
            message = f'"{name}" is not a valid command (use "list-commands" to see a list of valid commands)'
            raise BadInput(message)
        if len(words) < command.min_args:
            message = f'"{name}" command requires at least {command.min_args} arguments'
            raise BadInput(message)
        if command.max_args is not None and len(words) > command.max_args:
            message = f'"{name}" command takes at most {command.max_args} arguments'
            raise BadInput(message)
        strings = [word for word in words if isinstance(word, str)]
        if len(strings) < len(words):
            message = f'"{name}" command has non-string argument'
            raise BadInput(message)
        return command.handler(strings)
