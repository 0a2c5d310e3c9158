"""Texts of tools to facts.

Enters: files, pasted documents, directories, sosreports, or what a collector read. Leaves: facts, each with its place, and what
could not be read. A document is cut into sections at its prompts and at lines with the shape of a known output; each section
goes to the parser of its command, one file each. A parser takes what has its shape, lets pass what has not, and never fails.
"""

import functools
import importlib
import pkgutil

from pktpath.doctor.parse.section import Parser, registered


@functools.cache
def all_parsers() -> tuple[Parser, ...]:
    """Return the parsers of all modules in this folder."""
    for info in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{info.name}")
    return registered()
