"""Numbers as tools print them."""

import re

_NUMBER = re.compile(r"-?[0-9]{1,20}")
"""No counter of a kernel is longer; int() refuses numbers of thousands of digits."""


def number(text: str) -> int | None:
    """Return a whole number; None for `n/a`, `1.2G` and everything else."""
    return int(text) if _NUMBER.fullmatch(text) else None
