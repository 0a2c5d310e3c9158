"""The classic BPF machine the obvious way, for one frame of bytes."""

import operator

WORDS = 2**32


def run(program, data: bytes, wire_len: int) -> int:
    a = x = at = 0
    memory = [0] * 16

    def load(offset, size):
        if offset + size > len(data):
            raise IndexError
        return int.from_bytes(data[offset : offset + size], "big")

    sizes = {0x00: 4, 0x08: 2, 0x10: 1}
    alu = {
        0x00: operator.add,
        0x10: operator.sub,
        0x20: operator.mul,
        0x30: operator.floordiv,
        0x40: operator.or_,
        0x50: operator.and_,
        0x60: lambda p, q: p << q if q < 32 else 0,
        0x70: lambda p, q: p >> q if q < 32 else 0,
        0x90: operator.mod,
        0xA0: operator.xor,
    }
    compare = {0x10: operator.eq, 0x20: operator.gt, 0x30: operator.ge, 0x40: lambda p, q: bool(p & q)}
    try:
        while True:
            code, yes, no, k = program[at]
            at += 1
            match code & 7:
                case 0:
                    match code & 0xE0:
                        case 0x00:
                            a = k
                        case 0x20:
                            a = load(k, sizes[code & 0x18])
                        case 0x40:
                            a = load((x + k) % WORDS, sizes[code & 0x18])
                        case 0x60:
                            a = memory[k]
                        case 0x80:
                            a = wire_len
                case 1:
                    match code & 0xE0:
                        case 0x00:
                            x = k
                        case 0x60:
                            x = memory[k]
                        case 0x80:
                            x = wire_len
                        case 0xA0:
                            x = 4 * (load(k, 1) & 15)
                case 2:
                    memory[k] = a
                case 3:
                    memory[k] = x
                case 4:
                    other = x if code & 8 else k
                    a = -a % WORDS if code & 0xF0 == 0x80 else alu[code & 0xF0](a, other) % WORDS
                case 5:
                    other = x if code & 8 else k
                    if code & 0xF0 == 0:
                        at += k
                    else:
                        at += yes if compare[code & 0xF0](a, other) else no
                case 6:
                    return a if code & 0x10 else k
                case 7:
                    if code & 0x80:
                        a = x
                    else:
                        x = a
    except (IndexError, ZeroDivisionError):
        return 0
