"""What the commands that ask a daemon share: `-t`, `--timeout`, and one question."""

from collections.abc import Callable, Sequence
from typing import Any

import click

from pktpath.control.places import find_socket
from pktpath.control.unixctl_client import call

WORDS = {"ignore_unknown_options": True, "allow_interspersed_args": False}
"""Settings of a command whose words, dashes and all, are the daemon's."""


which = click.option(
    "-t",
    "--target",
    metavar="SOCKET",
    help="Control socket: a path, or a daemon's name in the run directory. Default: the only one there.",
)
"""Adds `-t SOCKET` (parameter `target`)."""
_timeout = click.option(
    "-T", "--timeout", type=click.FloatRange(min=0, min_open=True), default=30.0, show_default=True, help="Seconds to wait."
)


def asks(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `-t SOCKET` (parameter `target`) and `--timeout` (parameter `timeout`, seconds)."""
    return which(_timeout(function))


def ask(target: str | None, timeout: float, command: str, words: Sequence[str] = ()) -> str:
    """Return what the daemon answers."""
    return call(find_socket(target), command, list(words), timeout)


def taken(words: Sequence[str], flag: str) -> tuple[bool, tuple[str, ...]]:
    """Return whether a flag of ours stands among the daemon's words, and the words without it."""
    return flag in words, tuple(word for word in words if word != flag)


def print_text(text: str) -> None:
    """Print an answer; its lines have their ends already."""
    click.echo(text, nl=bool(text) and not text.endswith("\n"))
