"""Experiments: built-in traffic, the way of a frame over it, what each switch changes.

Enters: a choice of traffic and switches. Leaves: counts, times and proofs, as values; only `cli`
prints them.
"""
