"""The clock of a replay over whole numbers of any size, from the words of its promise."""

from fractions import Fraction

SECOND = 10**9
DAY = 86_400 * SECOND
END = (1 << 63) - 1
MOST = 1 << 61


def alone_ahead(stamp: int, neighbours: tuple[int, int]) -> bool:
    """More than a second after both neighbours, and further from the later than they are from each other."""
    lead = stamp - max(neighbours)
    # What is further than 64 bits reach is all alike.
    return lead > SECOND and min(lead, END) > max(neighbours) - min(neighbours)


def naive_times(batches: list[list[int]], speed: Fraction) -> tuple[list[int], dict[str, list[int]]]:
    """Return when each frame arrives, and the numbers of the frames that lied, by kind."""
    lies: dict[str, list[int]] = {"late": [], "alone": [], "gaps": []}
    most = min(MOST // speed.denominator * speed.numerator, MOST)
    elapsed, number, times = 0, 0, []
    newest = before = None
    for batch in batches:
        for place, stamp in enumerate(batch):
            if newest is None:
                newest = before = batch[1] if len(batch) > 2 and alone_ahead(stamp, (batch[1], batch[2])) else stamp
            elif place == 0 and alone_ahead(newest, (before, stamp)):
                lies["alone"].append(number)
                newest = before
            number += 1
            believed = stamp
            if place + 1 < len(batch) and alone_ahead(stamp, (newest, batch[place + 1])):
                lies["alone"].append(number)
                believed = newest
            elif stamp < newest:
                lies["late"].append(number)
                believed = newest
            if believed - newest > DAY:
                lies["gaps"].append(number)
            elapsed = min(elapsed + min(believed - newest, DAY), most)
            times.append(int(elapsed / speed))
            before, newest = newest, believed
    return times, lies
