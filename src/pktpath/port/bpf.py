"""The classic BPF machine (McCanne and Jacobson 1993), compiled, over a whole batch.

Enters: a program that `check` accepted. Leaves: which frames it takes. A load beyond the bytes
that are present, or a division by zero, refuses the frame, as in libpcap's own interpreter.
"""

import numpy as np
from numpy.typing import NDArray

from pktpath.batch import FRAMES, copy_descriptor
from pktpath.jit import inlined, kernel
from pktpath.wire.load import load8, load16, load32

CODE, JUMP_TRUE, JUMP_FALSE, CONSTANT = 0, 1, 2, 3
"""Columns of a program: int64[instructions, 4]."""
MEMORY = 16
"""Scratch words of the machine."""
_MAX_INSTRUCTIONS = 1 << 16

_LD, _LDX, _ST, _STX, _ALU, _JMP, _RET, _MISC = range(8)
_WORD, _HALF, _BYTE = 0x00, 0x08, 0x10
_IMM, _ABS, _IND, _MEM, _LEN, _MSH = 0x00, 0x20, 0x40, 0x60, 0x80, 0xA0
_ADD, _SUB, _MUL, _DIV, _OR, _AND, _LSH, _RSH, _NEG, _MOD, _XOR = (k << 4 for k in range(11))
_JA, _JEQ, _JGT, _JGE, _JSET = (k << 4 for k in range(5))
_X = 0x08
_U32 = 0xFFFFFFFF


def check(program: NDArray[np.int64]) -> None:
    """Accept a program all of whose jumps, scratch words and opcodes exist and whose last instruction returns.

    Raises:
        ValueError: it does something else.

    """
    count = len(program)
    if not 0 < count <= _MAX_INSTRUCTIONS or int(program[-1, CODE]) & 7 != _RET:
        message = "a BPF program has 1 to 65536 instructions, and the last one returns"
        raise ValueError(message)
    for at, (code, yes, no, constant) in enumerate(program.tolist()):
        kind = code & 7
        ok = code >> 8 == 0
        if kind in (_LD, _LDX):
            mode, size = code & 0xE0, code & 0x18
            if kind == _LD:
                ok &= (mode in (_ABS, _IND) and size in (_WORD, _HALF, _BYTE)) or (mode in (_IMM, _MEM, _LEN) and size == _WORD)
            else:
                ok &= (mode in (_IMM, _MEM, _LEN) and size == _WORD) or (mode == _MSH and size == _BYTE)
            ok &= mode != _MEM or constant < MEMORY
        elif kind in (_ST, _STX):
            ok &= code == kind and constant < MEMORY
        elif kind == _ALU:
            ok &= code & 0xF0 <= _XOR
        elif kind == _JMP:
            operation = code & 0xF0
            ok &= operation <= _JSET
            ok &= at + 1 + constant < count if operation == _JA else at + 1 + max(yes, no) < count
        elif kind == _RET:
            ok &= code & 0x18 in (0x00, 0x10)
        else:
            ok &= code in (_MISC, _MISC | 0x80)
        if not ok or not (0 <= yes <= 255 and 0 <= no <= 255 and 0 <= constant <= _U32):
            message = f"BPF instruction {at} is impossible: {code:#x} {yes} {no} {constant:#x}"
            raise ValueError(message)


@inlined
def _run(program, first, scratch, mem, base, length, wire_length):
    """Value that the program starting at row `first` returns for one frame; 0 refuses it."""
    a = np.int64(0)
    x = np.int64(0)
    for k in range(MEMORY):
        scratch[k] = 0
    at = first
    while True:
        code = program[at, CODE]
        constant = program[at, CONSTANT]
        kind = code & 7
        if kind in (_LD, _LDX):
            mode = code & 0xE0
            if mode in (_ABS, _IND):
                offset = constant if mode == _ABS else x + constant & _U32
                size = code & 0x18
                width = 4 if size == _WORD else (2 if size == _HALF else 1)
                if offset + width > length:
                    return np.int64(0)
                if size == _WORD:
                    a = load32(mem, base + offset)
                elif size == _HALF:
                    a = load16(mem, base + offset)
                else:
                    a = load8(mem, base + offset)
            elif mode == _MSH:
                if constant >= length:
                    return np.int64(0)
                x = (load8(mem, base + constant) & 15) << 2
            else:
                value = constant
                if mode == _MEM:
                    value = scratch[constant]
                elif mode == _LEN:
                    value = wire_length
                if kind == _LD:
                    a = value
                else:
                    x = value
        elif kind == _JMP:
            operation = code & 0xF0
            if operation == _JA:
                at += constant
            else:
                other = x if code & _X else constant
                taken = (a == other if operation == _JEQ else
                         a > other if operation == _JGT else
                         a >= other if operation == _JGE else
                         a & other != 0)  # fmt: skip
                at += program[at, JUMP_TRUE] if taken else program[at, JUMP_FALSE]
        elif kind == _RET:
            return a if code & 0x10 else constant
        elif kind == _ALU:
            operation = code & 0xF0
            other = x if code & _X else constant
            if operation == _ADD:
                a = a + other & _U32
            elif operation == _SUB:
                a = a - other & _U32
            elif operation == _MUL:
                a = (a * (other & 0xFFFF) + ((a * (other >> 16) & 0xFFFF) << 16)) & _U32
            elif operation in (_DIV, _MOD):
                if other == 0:
                    return np.int64(0)
                a = a // other if operation == _DIV else a % other
            elif operation == _OR:
                a |= other
            elif operation == _AND:
                a &= other
            elif operation == _XOR:
                a ^= other
            elif operation == _LSH:
                a = a << other & _U32 if other < 32 else np.int64(0)
            elif operation == _RSH:
                a = a >> other if other < 32 else np.int64(0)
            else:
                a = -a & _U32
        elif kind == _ST:
            scratch[constant] = a
        elif kind == _STX:
            scratch[constant] = x
        elif code & 0x80:
            a = x
        else:
            x = a
        at += 1


@kernel
def keep_matching(batch, first, program, starts, scratch):
    """Close up the frames from `first` on that the program of their interface takes.

    Args:
        batch: frames whose linear head is all there is of them.
        first: the first frame to judge.
        program: (instructions, 4) programs, one after another.
        starts: row of the first instruction for each interface.
        scratch: (16,) words for the machine.

    """
    kept = first
    for i in range(first, batch.used[FRAMES]):
        start = starts[batch.frames[i].in_port]
        length = np.int64(batch.frames[i].head_len)
        if _run(program, start, scratch, batch.pool.mem, batch.frames[i].head_addr, length, np.int64(batch.frames[i].wire_len)):
            if kept != i:
                copy_descriptor(batch, i, batch, kept)
                batch.frames[kept].origin = kept
            kept += 1
    batch.used[FRAMES] = kept
