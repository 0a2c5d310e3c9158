"""Looks at the running host, or at one process of it: what a person would type, in the order and with the care of one.

Enters: names of devices, a process. Leaves: a `Case`. What is read stays text as the tool or the kernel prints it and goes to
the parsers, so that a live look and a pasted one end in the same facts; `save` writes it down for others. Nothing is changed
on the host, every tool has a time limit, and what could not be looked at is said.
"""

from pktpath.doctor.collect.entry import look, plan

__all__ = ["look", "plan"]
