"""What this host's packet path is doing, how we know, and what should be switched.

Enters: the running host (`collect`), or whatever somebody saved or pasted of one (`parse`). Both end in the same typed `facts`,
each with the place that it comes from. `rules` are pure functions from a `Case`, all facts of a look, to findings; `report`
tells them. Nothing is changed on the host, and nothing here imports numba.
"""
