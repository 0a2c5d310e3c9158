"""The order of the way: port, offloads, port. The only room that knows which stage follows which.

Enters: a capture or a port. Leaves: another capture or port, and the counters of what happened.
`coalesce` and `segment` are the two ways over captures; `undo` is what the one leaves for the other.
"""
