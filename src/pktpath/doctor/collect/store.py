"""Looks as files that can be sent to somebody and read again by `pktpath doctor FOLDER`."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pktpath.doctor.collect.notebook import Look
from pktpath.doctor.parse.file_name import command_in
from pktpath.doctor.parse.prompt import plain
from pktpath.errors import Refused

_LONGEST = 120


def save(looks: Sequence[Look], directory: Path) -> None:
    """Write each look to a file of its own, named after what it shows.

    What a command prints begins with `$ ` and the command; files of the kernel are copies. What was read several times has the
    seconds of each look behind its name: `proc_net_softnet_stat.0s`, `proc_net_softnet_stat.2.01s`.

    Raises:
        Refused: the folder cannot be written.

    """
    names: Counter[str] = Counter()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for look in looks:
            name = file_name(look)
            names[name] += 1
            if names[name] > 1:
                # Commands that differ in what a name cannot show; their first line tells.
                name = f"{names[name]},{name}"
            text = look.document
            (directory / name).write_text(text if text.endswith("\n") else text + "\n", errors="replace")
    except OSError as error:
        message = f"{directory}: {error.strerror or error}"
        raise Refused(message) from None


def file_name(look: Look) -> str:
    """Return the name of the file for a look."""
    command = look.command if look.of_file else plain(look.command)[0]
    if command.startswith("ovs-appctl "):
        command = command.replace("/", ".")
    base = re.sub(r"[^\w@.:,+-]+", "_", command.strip("/ "))[:_LONGEST].strip("_.")
    if look.scope:
        base = f"{re.sub(r'[^A-Za-z0-9-]', '-', look.scope)}_{base}"
    if command_in(base).scope != look.scope:
        # What stands before a word that looks like a tool or a path would be taken for a network namespace.
        base = base.replace("_", "-")
    if look.when is None:
        return base if look.of_file else f"{base}.txt"
    return f"{base}.{look.when:.2f}".rstrip("0").rstrip(".") + "s"
