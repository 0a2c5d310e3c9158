"""Named network namespaces of a test: made, used from threads, deleted."""

import itertools
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

_numbers = itertools.count()


@contextmanager
def named_namespace(*commands: str) -> Iterator[str]:
    """Yield the name of a new namespace in which `ip` has done some commands."""
    name = f"pp-dmn-{os.getpid()}-{next(_numbers)}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        for command in commands:
            subprocess.run(["ip", "-n", name, *command.split()], check=True)
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)


def ip(netns: str, command: str) -> str:
    """Run `ip` in a namespace and return what it prints."""
    return subprocess.run(["ip", "-n", netns, *command.split()], check=True, capture_output=True, text=True).stdout
