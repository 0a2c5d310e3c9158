"""Lists of instances: who is polled next on each CPU. An instance is on at most one list.

The poll lists of a host have a row for the softirq of each CPU and, behind those, one for its threads.
"""

import numpy as np

from pktpath.jit import inlined

NOBODY = -1
HEAD, TAIL = 0, 1


def make_lists(count: int) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """Return `count` empty lists, a row (head, tail) each."""
    return np.full((count, 2), NOBODY, np.int64)


@inlined
def push(lists, which, napis, number):
    """Put an instance at the end of a list, unless it is on one."""
    napi = napis[number]
    if napi.on_list:
        return
    napi.on_list = 1
    napi.next = NOBODY
    tail = lists[which, TAIL]
    if tail >= 0:
        napis[tail].next = number
    else:
        lists[which, HEAD] = number
    lists[which, TAIL] = number


@inlined
def pop(lists, which, napis):
    """Take the first instance of a list; NOBODY of an empty one."""
    number = lists[which, HEAD]
    if number >= 0:
        napi = napis[number]
        lists[which, HEAD] = napi.next
        if napi.next < 0:
            lists[which, TAIL] = NOBODY
        napi.on_list = 0
    return number


@inlined
def splice(lists, which, napis, other, source):
    """Move all of list `source` of `other` to the end of a list."""
    head = other[source, HEAD]
    if head < 0:
        return
    tail = lists[which, TAIL]
    if tail >= 0:
        napis[tail].next = head
    else:
        lists[which, HEAD] = head
    lists[which, TAIL] = other[source, TAIL]
    other[source, HEAD] = NOBODY
    other[source, TAIL] = NOBODY
