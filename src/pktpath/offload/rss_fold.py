"""The Toeplitz sum of one or two 32-bit words of input, compiled: what a word adds to a hash.

A Toeplitz hash is a product of polynomials over GF(2): bit j of the hash is the sum of input bit i times
key bit i + j. So with the 64 key bits from a word's place on, in reversed order, one carry-less
multiplication holds, at its bits 31 to 62, all that the word adds, in reversed order too. Where the processor has
no such instruction, or numba's interpreter or bounds check is to see every index, a table does for each input byte.

`fold_value` and `fold_pair` give what is to be added (by exclusive or); `finish` makes the hash of the total.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pktpath.jit import BOUNDSCHECK, JIT_DISABLED, inlined
from pktpath.wire.load import load32, word64

WORDS = 9
"""Words of the longest input: two IPv6 addresses and two ports."""


def _has_clmul() -> bool:
    """Whether numba compiles for a processor with a carry-less multiplication (as its cache index says)."""
    if JIT_DISABLED or BOUNDSCHECK:
        return False
    from numba.core.registry import cpu_target

    target: Any = cpu_target.target_context
    triple, _, features = target.codegen().magic_tuple()
    return triple.startswith("x86_64") and {"+pclmul", "+ssse3"} <= set(features.split(","))


HAVE_CLMUL = _has_clmul()


def key_windows(key: bytes) -> NDArray[np.uint64]:
    """(WORDS + 1,) for each word of input the 64 key bits from its place on, the first one lowest; the last is 0."""
    bits = np.unpackbits(np.frombuffer(key[: 4 * (WORDS + 1)], np.uint8))
    windows = np.zeros(WORDS + 1, np.uint64)
    for word in range(WORDS):
        packed = np.packbits(bits[32 * word : 32 * word + 64], bitorder="little")
        windows[word] = int.from_bytes(packed.tobytes(), "little")
    return windows


def key_tables(key: bytes) -> NDArray[np.uint32]:
    """(4 * WORDS, 256) what each value of each byte of input adds to the hash; one row where none is looked at."""
    if HAVE_CLMUL:
        return np.zeros((1, 256), np.uint32)
    number = int.from_bytes(key[: 4 * (WORDS + 1)], "big")
    length = 32 * (WORDS + 1)
    tables = np.zeros((4 * WORDS, 256), np.uint32)
    for byte in range(4 * WORDS):
        for bit in range(8):
            # From the lowest bit of the byte, the last in the order of the input, upwards.
            place = 8 * byte + 7 - bit
            tables[byte, 1 << bit : 2 << bit] = tables[byte, : 1 << bit] ^ np.uint32(number >> (length - place - 32) & 0xFFFFFFFF)
    return tables


if not HAVE_CLMUL:

    @inlined
    def fold_value(rss, word, value):
        """What a 32-bit value as word number `word` of the input adds."""
        row = word * 4
        tables = rss.tables
        first = tables[row, value >> 24 & 0xFF] ^ tables[row + 1, value >> 16 & 0xFF]
        return np.uint64(first ^ tables[row + 2, value >> 8 & 0xFF] ^ tables[row + 3, value & 0xFF])

    @inlined
    def fold_pair(rss, word, mem, at):
        """What the eight bytes at `at` as words number `word` and the next add."""
        return fold_value(rss, word, load32(mem, at)) ^ fold_value(rss, word + 1, load32(mem, at + 4))

    @inlined
    def finish(total):
        """Return the hash, 32 bits."""
        return np.int64(total)

else:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    _BYTE, _INT, _LONG = ir.IntType(8), ir.IntType(32), ir.IntType(64)
    _LONGS, _BYTES = ir.VectorType(_LONG, 2), ir.VectorType(_BYTE, 16)
    _FIRST = ir.Constant(_INT, 0)
    # Two words in the machine's order to the low halves of two numbers; 16 is a zero.
    _PLACES = ir.Constant(ir.VectorType(_INT, 16), [3, 2, 1, 0, *[16] * 4, 7, 6, 5, 4, *[16] * 4])

    def _multiply(builder: Any, one: Any, other: Any, halves: int) -> Any:
        kind = ir.FunctionType(_LONGS, [_LONGS, _LONGS, _BYTE])
        function = builder.module.declare_intrinsic("llvm.x86.pclmulqdq", (), kind)
        return builder.call(function, [one, other, ir.Constant(_BYTE, halves)])

    def _in_vector(builder: Any, value: Any) -> Any:
        return builder.insert_element(ir.Constant(_LONGS, [0, 0]), value, _FIRST)

    def _window(context: Any, builder: Any, kind: Any, windows: Any, word: Any) -> Any:
        return cgutils.gep(builder, context.make_array(kind)(context, builder, windows).data, word)

    def _emit_product(_typing: Any, value: Any, windows: Any, word: Any) -> Any:
        """Low half of the carry-less product of a value and a window."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            window = builder.load(_window(context, builder, signature.args[1], args[1], args[2]))
            product = _multiply(builder, _in_vector(builder, args[0]), _in_vector(builder, window), 0x00)
            return builder.extract_element(product, _FIRST)

        return types.uint64(types.uint64, windows, types.int64), codegen

    def _emit_pair_product(_typing: Any, pair: Any, windows: Any, word: Any) -> Any:
        """The same for two big-endian words, read as one value in the machine's order, and two windows; their sum."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            read = builder.bitcast(_in_vector(builder, args[0]), _BYTES)
            words = builder.bitcast(builder.shuffle_vector(read, ir.Constant(_BYTES, [0] * 16), _PLACES), _LONGS)
            place = _window(context, builder, signature.args[1], args[1], args[2])
            both = builder.load(builder.bitcast(place, _LONGS.as_pointer()))
            both.align = 8
            total = builder.xor(_multiply(builder, words, both, 0x00), _multiply(builder, words, both, 0x11))
            return builder.extract_element(total, _FIRST)

        return types.uint64(types.uint64, windows, types.int64), codegen

    def _emit_reversed32(_typing: Any, value: Any) -> Any:
        """The low 32 bits in reversed order."""

        def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            function = builder.module.declare_intrinsic("llvm.bitreverse", [_INT])
            return builder.zext(builder.call(function, [builder.trunc(args[0], _INT)]), _LONG)

        return types.int64(types.uint64), codegen

    _product: Any = intrinsic(_emit_product)
    _pair_product: Any = intrinsic(_emit_pair_product)
    _reversed32: Any = intrinsic(_emit_reversed32)

    @inlined
    def fold_value(rss, word, value):
        """What a 32-bit value as word number `word` of the input adds."""
        return _product(np.uint64(value), rss.windows, word)

    @inlined
    def fold_pair(rss, word, mem, at):
        """What the eight bytes at `at` as words number `word` and the next add."""
        return _pair_product(word64(mem, at), rss.windows, word)

    @inlined
    def finish(total):
        """Return the hash, 32 bits."""
        return _reversed32(total >> np.uint64(31))
