"""Whom a tool was told to watch: the numbers behind its options.

Sources: pmap(1), lsof(8), ps(1), top(1), strace(1), gdb(1), eu-stack(1), perf-stat(1).
"""

import re

_OPTION = re.compile(r"\s(?:-[a-zA-Z]*p|-t|--pid|--tid|--attach)[= ]?\s*(\d{1,10})(?=[\s,;|]|$)")
_LAST = re.compile(r"\s(\d{1,10})(?=\s|$)")


def watched(command: str) -> int:
    """Return the process or thread behind -p, -t or --pid; 0 without."""
    found = _OPTION.search(command[:4000])
    return int(found[1]) if found else 0


def named(command: str) -> int:
    """Return the process behind an option, or the one that stands alone among the words, as for pmap and pstack; 0 without."""
    if found := watched(command):
        return found
    alone = _LAST.findall(command[:4000].partition("|")[0])
    return int(alone[-1]) if alone else 0
