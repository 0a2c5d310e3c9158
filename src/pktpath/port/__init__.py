"""Where batches come from and go to: memory and captures here, live interfaces beside them.

A port fills the descriptor columns that it knows (address, length, link, time, port number) and
leaves parsing to `wire.parse`. It knows nothing about flows.
"""
