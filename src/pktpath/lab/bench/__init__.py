"""The engine and its peers side by side, in one run on one core.

Enters: nothing but how long to measure. Leaves: a list of `Row`. What is timed is the offload
alone, as a peer's is: frames that are parsed already, headers in cache, and whatever readies the
next call outside the time. Peer and pktpath take turns within milliseconds, and each figure is
the median of at least nine turns, so that a busy machine disturbs both alike.
"""
