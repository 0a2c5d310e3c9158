"""Interrupt moderation on plain values: the twin of `pktpath.nic.moderation`.

The adaptive half is written from the rules of include/linux/dim.h, lib/dim/dim.c and lib/dim/net_dim.c.
"""

from dataclasses import dataclass, field

PROFILES = [(1, 256), (8, 256), (64, 256), (128, 256), (256, 256)]
EVENTS = 64


@dataclass
class Sample:
    """Rates per millisecond, rounded up."""

    octets: int = 0
    frames: int = 0
    events: int = 0


@dataclass
class NaiveDim:
    """The search for a profile."""

    profile: int = 1
    state: str = "right"
    """"top" or "tired" where it rests, "right" or "left" where it moves."""
    left: int = 0
    right: int = 0
    tired: int = 0
    previous: Sample = field(default_factory=Sample)

    def decide(self, sample: Sample) -> None:
        before = self.state
        if before == "top":
            if self.compare(sample) != "same":
                self._leave_rest()
        elif before == "tired":
            self.tired -= 1
            if self.tired == 0:
                self._leave_rest()
        else:
            if self.compare(sample) != "better":
                self._turn()
            if self._is_on_top():
                self._rest_on_top()
            else:
                stepped = self._step()
                if stepped == "edge":
                    self._rest_on_top()
                elif stepped == "too tired":
                    self.left = self.right = 0
                    self.state = "tired"
        if not before == self.state == "top":
            self.previous = sample

    def compare(self, sample: Sample) -> str:
        """Bytes decide, then frames, then fewer interrupts; a tenth is no difference."""
        for name, sign in (("octets", 1), ("frames", 1), ("events", -1)):
            now, before = getattr(sample, name), getattr(self.previous, name)
            if not before:
                return "better" if now and name != "events" else "same"
            if 100 * abs(now - before) // before > 10:
                return "better" if sign * (now - before) > 0 else "worse"
        return "same"

    def _is_on_top(self) -> bool:
        if self.state == "right":
            return self.left > 1 and self.right == 1
        return self.right > 1 and self.left == 1

    def _turn(self) -> None:
        if self.state == "right":
            self.state, self.left = "left", 0
        else:
            self.state, self.right = "right", 0

    def _rest_on_top(self) -> None:
        self.state, self.left, self.right, self.tired = "top", 0, 0, 0

    def _leave_rest(self) -> None:
        self.state = "left" if self.profile else "right"
        self._step()

    def _step(self) -> str:
        if self.tired == 2 * len(PROFILES):
            return "too tired"
        if self.state == "right":
            if self.profile == len(PROFILES) - 1:
                return "edge"
            self.profile += 1
            self.right += 1
        else:
            if self.profile == 0:
                return "edge"
            self.profile -= 1
            self.left += 1
        self.tired += 1
        return "stepped"


class NaiveLine:
    """The interrupt of one queue. `at` is when it comes, None while nothing asks for it."""

    def __init__(self, usecs: int, frames: int, *, adaptive: bool) -> None:
        self.usecs, self.frames = PROFILES[1] if adaptive else (usecs, frames)
        self.dim = NaiveDim() if adaptive else None
        self.at: int | None = None
        self.untold = 0
        self.masked = False
        self.events = 0
        self.start = (0, 0, 0, 0)

    def arm(self, now: int, count: int) -> None:
        """So many more frames lie in the ring of an unmasked queue."""
        self.untold += count
        if self.frames:
            at_once = self.untold >= self.frames
        else:
            at_once = self.usecs == 0
        if self.usecs == 0 and self.frames <= 1:
            at_once = True
        if at_once:
            when = now
        elif self.usecs:
            when = now + self.usecs * 1000
        else:
            return
        self.at = when if self.at is None else min(self.at, when)

    def fire(self) -> None:
        self.at, self.untold = None, 0
        self.events += 1

    def unmask(self, now: int, waiting: int) -> None:
        self.masked = False
        if waiting:
            self.untold = 0
            self.arm(now, waiting)

    def adapt(self, now: int, frames: int, octets: int) -> None:
        """At the end of a poll, `frames` and `octets` since the start."""
        started, events, frames_then, octets_then = self.start
        micros = (now - started) // 1000
        if self.dim is None or self.events - events < EVENTS or micros == 0:
            return
        counts = (octets - octets_then, frames - frames_then, self.events - events)
        self.dim.decide(Sample(*(-(-1000 * count // micros) for count in counts)))
        self.usecs, self.frames = PROFILES[self.dim.profile]
        self.start = (now, self.events, frames, octets)
