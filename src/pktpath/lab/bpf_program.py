"""What the XDP programs that make frames have in common: a map with their state, a frame long enough, a drop otherwise."""

from collections.abc import Sequence

from pktpath.port.bpf_syscall import MAP_LOOKUP_HELPER, XDP_DROP, instruction, load_map


def over_map(state: int, length: int, body: Sequence[bytes]) -> bytes:
    """Return the program that runs `body` over a map's first value, and drops a frame of less than `length` bytes.

    Args:
        state: the map.
        length: bytes of a frame that the body may touch.
        body: its instructions. They find r0 at the value and r7 at the frame, and r6 holds the context; to run past
            the last of them is to drop the frame.

    """
    bounds = [
        instruction(0x61, 7, 6),  # r7 = data
        instruction(0x61, 8, 6, 4),  # r8 = data_end
        instruction(0xBF, 1, 7),
        instruction(0x07, 1, value=length),
        instruction(0x2D, 1, 8, len(body)),  # shorter: drop
    ]
    code = [
        instruction(0xBF, 6, 1),  # r6 = the context
        instruction(0x62, 10, 0, -4),
        instruction(0xBF, 2, 10),
        instruction(0x07, 2, value=-4),
        load_map(1, state),
        instruction(0x85, value=MAP_LOOKUP_HELPER),
        instruction(0x15, 0, offset=len(bounds) + len(body)),  # no value: drop
        *bounds,
        *body,
        instruction(0xB7, 0, value=XDP_DROP),
        instruction(0x95),
    ]
    return b"".join(code)
