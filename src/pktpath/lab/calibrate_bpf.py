"""Frames out of nothing: small XDP programs, and the kernel's own test run that sends frames through them.

Source: bpf(2), Documentation/bpf/bpf_prog_run.rst, Documentation/bpf/standardization/instruction-set.rst. Whatever
is made here belongs to file descriptors and goes with the process.
"""

import ctypes
import errno
import struct

from pktpath.lab.calibrate_figures import Unmeasurable
from pktpath.lab.calibrate_process import system_call

XDP_DROP, XDP_PASS = 1, 2
_MAP_CREATE, _MAP_UPDATE, _PROG_LOAD, _PROG_TEST_RUN, _LINK_CREATE = 0, 2, 5, 10, 28
_MAP_TYPE_ARRAY, _PROG_TYPE_XDP, _ATTACH_TYPE_XDP = 2, 6, 37
_XDP_FLAGS_DRV_MODE = 4
_TEST_XDP_LIVE_FRAMES = 2
_DURATION = 36
"""Offset of the answer in the attributes of a test run: nanoseconds a frame."""
_MAP_LOOKUP_HELPER, _REDIRECT_HELPER = 1, 23
SEQ, PAYLOAD = 38, 54
"""Offsets in a frame of IPv4 and TCP without options."""


def bpf(command: int, attributes: bytes) -> tuple[int, bytes]:
    """Make the system call and return its result and the attributes as the kernel left them.

    Raises:
        OSError: the kernel refuses.

    """
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    result = system_call("bpf", command, ctypes.addressof(buffer), len(attributes))
    return result, buffer.raw


def instruction(code: int, target: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    """Return one instruction."""
    return struct.pack("=BBhi", code, target | source << 4, offset, value)


def _load(code: bytes) -> int:
    instructions, licence = ctypes.create_string_buffer(code), ctypes.create_string_buffer(b"Apache-2.0")
    where = ctypes.addressof(instructions), ctypes.addressof(licence)
    try:
        return bpf(_PROG_LOAD, struct.pack("=IIQQ", _PROG_TYPE_XDP, len(code) // 8, *where) + bytes(48))[0]
    except PermissionError:
        message = "loading an XDP program needs CAP_BPF and CAP_NET_ADMIN (run as root)"
        raise Unmeasurable(message) from None


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
            Unmeasurable: that is not allowed.
            OSError: the kernel refuses.

        """
        self._map, _ = bpf(_MAP_CREATE, struct.pack("=IIII", _MAP_TYPE_ARRAY, 4, 12, 1))
        self.program = _load(_numbering(self._map))

    def set(self, first: int, step: int, ifindex: int) -> None:
        """Say which sequence number is next, how far one frame is from the next, and to which device; 0 drops them."""
        key, value = ctypes.c_uint32(0), (ctypes.c_uint32 * 3)(first, step, ifindex)
        where = ctypes.addressof(key), ctypes.addressof(value)
        bpf(_MAP_UPDATE, struct.pack("=IIQQQ", self._map, 0, *where, 0))


def _numbering(counter: int) -> bytes:
    """Return the instructions of a `Stream` over a map of three words: sequence number, step, device."""
    last = [
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
        instruction(0x85, value=_REDIRECT_HELPER),
        instruction(0x95),
    ]
    bounds = [
        instruction(0x61, 7, 6),  # r7 = data
        instruction(0x61, 8, 6, 4),  # r8 = data_end
        instruction(0xBF, 1, 7),
        instruction(0x07, 1, value=PAYLOAD + 4),
        instruction(0x2D, 1, 8, len(last)),  # shorter: drop
    ]
    code = [
        instruction(0xBF, 6, 1),  # r6 = the context
        instruction(0x62, 10, 0, -4),
        instruction(0xBF, 2, 10),
        instruction(0x07, 2, value=-4),
        instruction(0x18, 1, 1, value=counter),  # of two words
        instruction(0),
        instruction(0x85, value=_MAP_LOOKUP_HELPER),
        instruction(0x15, 0, offset=len(bounds) + len(last)),  # no counter: drop
        *bounds,
        *last,
        instruction(0xB7, 0, value=XDP_DROP),
        instruction(0x95),
    ]
    return b"".join(code)


def attach(program: int, ifindex: int) -> int:
    """Let a program see all frames of a device, in its driver, for as long as the returned descriptor is open."""
    return bpf(_LINK_CREATE, struct.pack("=IIII", program, ifindex, _ATTACH_TYPE_XDP, _XDP_FLAGS_DRV_MODE) + bytes(48))[0]


def run(program: int, frame: bytes, count: int, burst: int) -> int:
    """Send a frame `count` times in bursts and return how many nanoseconds one took on the average.

    Quick if the program is attached somewhere; otherwise the kernel waits for all CPUs (RCU) at each run.
    A burst ends with the softirqs that it raised, so what a receiving device does with it is inside, on the same CPU.
    """
    content = ctypes.create_string_buffer(frame, len(frame))
    attributes = struct.pack("=IIIIQQIIIIQQIII", program, 0, len(frame), 0, ctypes.addressof(content), 0, count,
                             0, 0, 0, 0, 0, _TEST_XDP_LIVE_FRAMES, 0, burst)  # fmt: skip
    # The structure ends on a word of eight bytes.
    try:
        _, answer = bpf(_PROG_TEST_RUN, attributes + bytes(4))
    except OSError as error:
        if error.errno in {errno.EINVAL, errno.EOPNOTSUPP}:
            message = "the kernel sends no frames of its own (BPF_F_TEST_XDP_LIVE_FRAMES, Linux 5.18)"
            raise Unmeasurable(message) from None
        raise
    return int(struct.unpack_from("=I", answer, _DURATION)[0])
