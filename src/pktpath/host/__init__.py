"""The real kernel: what it says of its devices, and what it is told.

Enters: the name of a device in the current network namespace. Leaves: values; a refusal is one line.
Nothing here knows a text format, and nothing here is needed to move a frame.
"""
