"""bpf(2) without a library: maps, small programs of our own instructions, links, the kernel's test run.

Whatever is made here belongs to a file descriptor and goes with the last process that has it open.

Source: bpf(2), Documentation/bpf/bpf_prog_run.rst, Documentation/bpf/standardization/instruction-set.rst, linux/bpf.h.
"""

import contextlib
import ctypes
import os
import struct

from pktpath.errors import Refused

XDP_DROP, XDP_PASS = 1, 2
MAP_ARRAY, MAP_XSK = 2, 17
"""Types of maps: values by number; AF_XDP sockets by number."""
MAP_LOOKUP_HELPER, REDIRECT_HELPER, REDIRECT_MAP_HELPER = 1, 23, 51
NATIVE, GENERIC = 4, 2
"""Where a program looks at frames: in the driver, or behind it on an sk_buff (XDP_FLAGS_DRV_MODE, _SKB_MODE)."""
_MAP_CREATE, _MAP_LOOKUP, _MAP_UPDATE, _PROG_LOAD, _PROG_TEST_RUN, _LINK_CREATE = 0, 1, 2, 5, 10, 28
_PROG_TYPE_XDP, _ATTACH_TYPE_XDP = 6, 37
_XDP_HAS_FRAGS = 1 << 5
_LOG_BYTES = 1 << 16
_NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "loongarch64": 280, "s390x": 351, "ppc64le": 361}
"""bpf(2) has no function in libc, so it goes by its number on each machine."""
_libc = ctypes.CDLL(None, use_errno=True)


def bpf(command: int, attributes: bytes) -> tuple[int, bytes]:
    """Make the system call and return its result and the attributes as the kernel left them; no interpreter lock meanwhile.

    Raises:
        OSError: the kernel refuses.
        Refused: the number of the system call on this machine is not known.

    """
    machine = os.uname().machine
    if machine not in _NUMBERS:
        message = f"the number of bpf(2) on {machine} is not known"
        raise Refused(message)
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    words = (_NUMBERS[machine], command, ctypes.addressof(buffer), len(attributes))
    result = int(_libc.syscall(*(ctypes.c_long(word) for word in words)))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result, buffer.raw


def instruction(code: int, target: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    """Return one instruction."""
    return struct.pack("=BBhi", code, target | source << 4, offset, value)


def load_map(target: int, descriptor: int) -> bytes:
    """Return the instruction, of two words, that puts a map into a register."""
    return instruction(0x18, target, 1, value=descriptor) + instruction(0)


def create_map(kind: int, value_size: int, entries: int) -> int:
    """Return the descriptor of a new map whose keys are 32-bit numbers.

    Raises:
        Refused: that is not allowed or not possible.

    """
    try:
        return bpf(_MAP_CREATE, struct.pack("=IIII", kind, 4, value_size, entries))[0]
    except OSError as error:
        refusal = _refusal("making a BPF map", error)
    raise refusal


def update_map(descriptor: int, number: int, value: bytes) -> None:
    """Set the value of a number.

    Raises:
        OSError: the kernel refuses.

    """
    key, content = ctypes.c_uint32(number), ctypes.create_string_buffer(value, len(value))
    bpf(_MAP_UPDATE, struct.pack("=IIQQQ", descriptor, 0, ctypes.addressof(key), ctypes.addressof(content), 0))


def look_up(descriptor: int, number: int, size: int) -> bytes:
    """Return the value of a number, which has so many bytes.

    Raises:
        OSError: the kernel refuses.

    """
    key, content = ctypes.c_uint32(number), ctypes.create_string_buffer(size)
    bpf(_MAP_LOOKUP, struct.pack("=IIQQQ", descriptor, 0, ctypes.addressof(key), ctypes.addressof(content), 0))
    return content.raw


def load_xdp(code: bytes, *, fragments: bool = False) -> int:
    """Return the descriptor of an XDP program.

    Args:
        code: its instructions.
        fragments: it may see frames that lie in more than one buffer.

    Raises:
        Refused: no permission, or what the verifier said in its last words.

    """
    instructions, licence = ctypes.create_string_buffer(code), ctypes.create_string_buffer(b"Apache-2.0")
    log = ctypes.create_string_buffer(_LOG_BYTES)

    def load(level: int) -> int:
        room = (level, _LOG_BYTES, ctypes.addressof(log)) if level else (0, 0, 0)
        fixed = struct.pack(
            "=IIQQIIQII", _PROG_TYPE_XDP, len(code) // 8, ctypes.addressof(instructions), ctypes.addressof(licence),
            *room, 0, _XDP_HAS_FRAGS if fragments else 0,
        )  # fmt: skip
        return bpf(_PROG_LOAD, fixed + bytes(24))[0]

    try:
        return load(0)
    except OSError as error:
        refusal = _refusal("loading an XDP program", error)
    with contextlib.suppress(OSError):
        os.close(load(1))
    # The last lines say how much work it was; the complaint stands before them.
    said = [line for line in log.value.decode(errors="replace").splitlines() if line and not line.startswith("processed ")]
    raise Refused(f"{refusal}: {said[-1]}" if said else str(refusal))


def attach_xdp(program: int, ifindex: int, mode: int) -> int:
    """Let a program see all frames of a device for as long as the returned descriptor is open.

    Args:
        program: its descriptor.
        ifindex: number of the device in the current network namespace.
        mode: `NATIVE` or `GENERIC`.

    Raises:
        OSError: EBUSY another program is there, EOPNOTSUPP the driver runs none, ERANGE frames of its MTU are too long.

    """
    return bpf(_LINK_CREATE, struct.pack("=IIII", program, ifindex, _ATTACH_TYPE_XDP, mode) + bytes(48))[0]


def run_live(program: int, frame: bytes, count: int, burst: int) -> int:
    """Let a program see a frame `count` times, in bursts, and do with it what it says (BPF_F_TEST_XDP_LIVE_FRAMES).

    The frames are the kernel's own pages, and what the program writes there may be there the next time.

    Returns:
        Nanoseconds that one took on the average.

    Raises:
        OSError: EINTR a signal came first; EINVAL or EOPNOTSUPP the kernel is older than 5.18.

    """
    content = ctypes.create_string_buffer(frame, len(frame))
    attributes = struct.pack(
        "=IIIIQQIIIIQQIII", program, 0, len(frame), 0, ctypes.addressof(content), 0, count, 0, 0, 0, 0, 0, 2, 0, burst
    )
    # The structure ends on a word of eight bytes; offset 36 is the duration.
    answer = bpf(_PROG_TEST_RUN, attributes + bytes(4))[1]
    return int(struct.unpack_from("=I", answer, 36)[0])


def _refusal(what: str, error: OSError) -> Refused:
    if isinstance(error, PermissionError):
        return Refused(f"{what} needs CAP_BPF and CAP_NET_ADMIN (run as root)")
    return Refused(f"{what} failed: {error.strerror}")
