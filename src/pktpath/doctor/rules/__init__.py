"""One question a file: a pure function from a case to findings.

Enters: a `Case`. Leaves: findings, each with its evidence and its switch. A rule's docstring says when it speaks, when it
stays silent, and where that comes from; `pktpath doctor explain ID` prints it. Rules know nothing of files and tools.
"""

import functools
import importlib
import pkgutil

from pktpath.doctor.finding import Rule


@functools.cache
def all_rules() -> tuple[Rule, ...]:
    """Return the rule of each module in this folder, sorted by id."""
    modules = (info.name for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_"))
    return tuple(getattr(importlib.import_module(f"{__name__}.{name}"), name).rule for name in sorted(modules))
