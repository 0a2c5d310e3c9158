"""Experiments: the same work done two ways, and the ratio.

Enters: a case. Leaves: rows of figures. This room sits above the path and below the commands; it
prints nothing.
"""
