"""Frames out of nothing: small XDP programs, and the kernel's own test run that sends frames through them.

What is `Refused` for a port is `Unmeasurable` here. Whatever is made belongs to file descriptors and goes with the process.
"""

import errno
import struct

from pktpath.errors import Refused
from pktpath.lab.bpf_program import over_map
from pktpath.lab.calibrate_figures import Unmeasurable
from pktpath.port.bpf_syscall import (
    MAP_ARRAY,
    NATIVE,
    REDIRECT_HELPER,
    XDP_DROP,
    XDP_PASS,
    attach_xdp,
    create_map,
    instruction,
    load_xdp,
    run_live,
    update_map,
)

__all__ = ["PAYLOAD", "SEQ", "XDP_DROP", "XDP_PASS", "Stream", "attach", "run", "verdict"]

SEQ, PAYLOAD = 38, 54
"""Offsets in a frame of IPv4 and TCP without options."""


def _load(code: bytes) -> int:
    try:
        return load_xdp(code)
    except Refused as error:
        raise Unmeasurable(str(error)) from None


def verdict(action: int) -> int:
    """Return a program that says the same of every frame."""
    return _load(instruction(0xB7, 0, value=action) + instruction(0x95))


class Stream:
    """A program that numbers frames on and sends them to a device.

    A frame gets the next TCP sequence number, and its first four bytes of payload are that number's complement:
    so the sum over both is always the same, and the checksum of the first frame is that of all.
    """

    def __init__(self) -> None:
        """Load it.

        Raises:
            Unmeasurable: that is not allowed, or the kernel refuses.

        """
        try:
            self._map = create_map(MAP_ARRAY, 12, 1)
        except Refused as error:
            raise Unmeasurable(str(error)) from None
        self.program = _load(_numbering(self._map))

    def set(self, first: int, step: int, ifindex: int) -> None:
        """Say which sequence number is next, how far one frame is from the next, and to which device; 0 drops them."""
        update_map(self._map, 0, struct.pack("=III", first, step, ifindex))


def _numbering(counter: int) -> bytes:
    """Return the instructions of a `Stream` over a map of three words: sequence number, step, device."""
    body = [
        instruction(0x61, 2, 0),  # r2 = the number
        instruction(0x61, 3, 0, 4),
        instruction(0x0F, 3, 2),
        instruction(0x63, 0, 3),  # the number = r2 + step
        instruction(0xDC, 2, value=32),  # to network order
        instruction(0x63, 7, 2, SEQ),
        instruction(0xA7, 2, value=-1),
        instruction(0x63, 7, 2, PAYLOAD),
        instruction(0x61, 1, 0, 8),  # r1 = the device
        instruction(0x15, 1, offset=3),  # none: drop
        instruction(0xB7, 2),
        instruction(0x85, value=REDIRECT_HELPER),
        instruction(0x95),
    ]
    return over_map(counter, PAYLOAD + 4, body)


def attach(program: int, ifindex: int) -> int:
    """Let a program see all frames of a device, in its driver, for as long as the returned descriptor is open."""
    return attach_xdp(program, ifindex, NATIVE)


def run(program: int, frame: bytes, count: int, burst: int) -> int:
    """Send a frame `count` times in bursts and return how many nanoseconds one took on the average.

    Quick if the program is attached somewhere; otherwise the kernel waits for all CPUs (RCU) at each run.
    A burst ends with the softirqs that it raised, so what a receiving device does with it is inside, on the same CPU.
    """
    try:
        return run_live(program, frame, count, burst)
    except OSError as error:
        if error.errno in {errno.EINVAL, errno.EOPNOTSUPP}:
            message = "the kernel sends no frames of its own (BPF_F_TEST_XDP_LIVE_FRAMES, Linux 5.18)"
            raise Unmeasurable(message) from None
        raise
