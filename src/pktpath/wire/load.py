"""Loads, stores and copies of frame bytes: the one module that decides how.

Compiled, a load is one unaligned machine load. Where numba's bounds check or its interpreter
mode asks to see every index (NUMBA_BOUNDSCHECK, NUMBA_DISABLE_JIT), the same names go byte by
byte through the array. Addresses are offsets into the array; 16- and 32-bit values come back as
signed 64-bit integers so that ordinary arithmetic stays integer, `load64` and `word64` as unsigned
ones, which must meet unsigned ones only; `word64` is good for comparing and nothing else.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from pktpath.jit import BOUNDSCHECK, JIT_DISABLED, kernel

LEAST_AT_ONCE, MOST_AT_ONCE = 32, 96
"""How many bytes `copy_at_once` and `same_under` can take."""


@kernel
def load8(mem, at):
    """One byte as a signed 64-bit integer, wide enough to shift and add."""
    return np.int64(mem[at])


if JIT_DISABLED or BOUNDSCHECK:

    @kernel
    def load16(mem, at):
        """Big-endian 16-bit value."""
        return np.int64(mem[at]) << 8 | np.int64(mem[at + 1])

    @kernel
    def load32(mem, at):
        """Big-endian 32-bit value."""
        return load16(mem, at) << 16 | load16(mem, at + 2)

    @kernel
    def load64(mem, at):
        """Big-endian 64-bit value, unsigned."""
        return np.uint64(load32(mem, at)) << np.uint64(32) | np.uint64(load32(mem, at + 4))

    @kernel
    def word32(mem, at):
        """Four bytes as one value in the machine's order, for comparing."""
        return np.int64(mem[at]) | np.int64(mem[at + 1]) << 8 | np.int64(mem[at + 2]) << 16 | np.int64(mem[at + 3]) << 24

    @kernel
    def word64(mem, at):
        """Eight bytes as one unsigned value in the machine's order, for comparing."""
        return np.uint64(word32(mem, at)) | np.uint64(word32(mem, at + 4)) << np.uint64(32)

    @kernel
    def store16(mem, at, value):
        """Store the low 16 bits in big-endian order."""
        mem[at] = value >> 8 & 0xFF
        mem[at + 1] = value & 0xFF

    @kernel
    def store32(mem, at, value):
        """Store the low 32 bits in big-endian order."""
        store16(mem, at, value >> 16)
        store16(mem, at + 2, value)

    @kernel
    def copy_bytes(mem, target, source, length):
        """Copy `length` bytes inside one array; the ranges do not overlap."""
        for k in range(length):
            mem[target + k] = mem[source + k]

    @kernel
    def copy16(mem, target, source):
        """Copy sixteen bytes inside one array."""
        copy_bytes(mem, target, source, 16)

    @kernel
    def copy_between(target_mem, target, mem, source, length):
        """Copy `length` bytes from one array to another."""
        for k in range(length):
            target_mem[target + k] = mem[source + k]

    @kernel
    def copy_at_once(mem, target, source, length):
        """Copy 32 to 96 bytes inside one array; the ranges do not overlap."""
        copy_bytes(mem, target, source, length)

    @kernel
    def same_under(mem, a, b, masks, mask, length):
        """Whether two ranges of 32 to 96 bytes are equal in the bits that are set in `masks` from `mask` on."""
        differ = 0
        for k in range(length):
            differ |= (mem[a + k] ^ mem[b + k]) & masks[mask + k]
        return differ == 0

else:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    def _pointer(context: Any, builder: Any, mem_type: Any, mem: Any, at: Any) -> Any:
        array = context.make_array(mem_type)(context, builder, mem)
        return cgutils.gep(builder, array.data, at)

    def _load_of(bits: int, *, swap: bool) -> Callable[..., Any]:
        result = types.uint64 if bits == 64 else types.int64

        @intrinsic
        def load(_typing: Any, mem: Any, at: Any) -> Any:
            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                pointer = _pointer(context, builder, signature.args[0], args[0], args[1])
                word = ir.IntType(bits)
                value = builder.load(builder.bitcast(pointer, word.as_pointer()))
                value.align = 1
                if swap:
                    value = builder.bswap(value)
                return value if bits == 64 else builder.zext(value, ir.IntType(64))

            return result(mem, types.int64), codegen

        return load

    def _store_of(bits: int) -> Callable[..., Any]:
        @intrinsic
        def store(_typing: Any, mem: Any, at: Any, value: Any) -> Any:
            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                pointer = _pointer(context, builder, signature.args[0], args[0], args[1])
                word = ir.IntType(bits)
                low = builder.bswap(builder.trunc(args[2], word))
                builder.store(low, builder.bitcast(pointer, word.as_pointer())).align = 1
                return context.get_dummy_value()

            return types.void(mem, types.int64, types.int64), codegen

        return store

    load16 = _load_of(16, swap=True)
    load32 = _load_of(32, swap=True)
    load64 = _load_of(64, swap=True)
    word32 = _load_of(32, swap=False)
    word64 = _load_of(64, swap=False)
    store16 = _store_of(16)
    store32 = _store_of(32)

    @intrinsic
    def copy_bytes(_typing: Any, mem: Any, target: Any, source: Any, length: Any) -> Any:
        """Copy `length` bytes inside one array; the ranges do not overlap."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            to = _pointer(context, builder, signature.args[0], args[0], args[1])
            origin = _pointer(context, builder, signature.args[0], args[0], args[2])
            cgutils.raw_memcpy(builder, to, origin, args[3], 1)
            return context.get_dummy_value()

        return types.void(mem, types.int64, types.int64, types.int64), codegen

    @intrinsic
    def copy16(_typing: Any, mem: Any, target: Any, source: Any) -> Any:
        """Copy sixteen bytes inside one array."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            bytes16 = ir.VectorType(ir.IntType(8), 16).as_pointer()
            to, origin = (_pointer(context, builder, signature.args[0], args[0], at) for at in args[1:])
            value = builder.load(builder.bitcast(origin, bytes16))
            value.align = 1
            builder.store(value, builder.bitcast(to, bytes16)).align = 1
            return context.get_dummy_value()

        return types.void(mem, types.int64, types.int64), codegen

    @intrinsic
    def copy_between(_typing: Any, target_mem: Any, target: Any, mem: Any, source: Any, length: Any) -> Any:
        """Copy `length` bytes from one array to another."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            to = _pointer(context, builder, signature.args[0], args[0], args[1])
            origin = _pointer(context, builder, signature.args[2], args[2], args[3])
            cgutils.raw_memcpy(builder, to, origin, args[4], 1)
            return context.get_dummy_value()

        return types.void(target_mem, types.int64, mem, types.int64, types.int64), codegen

    _VECTOR = ir.VectorType(ir.IntType(64), 4)

    def _three_places(builder: Any, length: Any) -> tuple[Any, Any, Any]:
        """Where three vectors start that cover 32 to 96 bytes and nothing behind them."""
        size = ir.Constant(ir.IntType(64), 32)
        last = builder.sub(length, size)
        middle = builder.select(builder.icmp_signed("<", last, size), last, size)
        return ir.Constant(ir.IntType(64), 0), middle, last

    def _vector_at(context: Any, builder: Any, mem_type: Any, mem: Any, at: Any) -> Any:
        return builder.bitcast(_pointer(context, builder, mem_type, mem, at), _VECTOR.as_pointer())

    @intrinsic
    def copy_at_once(_typing: Any, mem: Any, target: Any, source: Any, length: Any) -> Any:
        """Copy 32 to 96 bytes inside one array; the ranges do not overlap."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            values = []
            places = _three_places(builder, args[3])
            for place in places:
                at = builder.add(args[2], place)
                values.append(builder.load(_vector_at(context, builder, signature.args[0], args[0], at)))
                values[-1].align = 1
            for place, value in zip(places, values, strict=True):
                at = builder.add(args[1], place)
                builder.store(value, _vector_at(context, builder, signature.args[0], args[0], at)).align = 1
            return context.get_dummy_value()

        return types.void(mem, types.int64, types.int64, types.int64), codegen

    @intrinsic
    def same_under(_typing: Any, mem: Any, a: Any, b: Any, masks: Any, mask: Any, length: Any) -> Any:
        """Whether two ranges of 32 to 96 bytes are equal in the bits that are set in `masks` from `mask` on.

        The last of three vectors ends with the range: nothing behind it is read.
        """

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            def take(argument: int, at: int, offset: Any) -> Any:
                place = builder.add(args[at], offset)
                value = builder.load(_vector_at(context, builder, signature.args[argument], args[argument], place))
                value.align = 1
                return value

            differ = ir.Constant(_VECTOR, None)
            for offset in _three_places(builder, args[5]):
                changed = builder.xor(take(0, 1, offset), take(0, 2, offset))
                differ = builder.or_(differ, builder.and_(changed, take(3, 4, offset)))
            whole = ir.IntType(256)
            return builder.icmp_unsigned("==", builder.bitcast(differ, whole), ir.Constant(whole, 0))

        return types.boolean(mem, types.int64, types.int64, masks, types.int64, types.int64), codegen


@kernel
def copy_header(mem, target, source, length):
    """Copy `length` bytes inside one array, 16 at least, without the call that `copy_bytes` costs."""
    k = 0
    while k + 16 < length:
        copy16(mem, target + k, source + k)
        k += 16
    # The last step overlaps the one before it rather than run over the end.
    copy16(mem, target + length - 16, source + length - 16)


@kernel
def same_bytes(mem, a, b, length):
    """Whether two ranges of `length` bytes are equal."""
    k = 0
    while k + 8 <= length:
        if word64(mem, a + k) != word64(mem, b + k):
            return False
        k += 8
    while k < length:
        if mem[a + k] != mem[b + k]:
            return False
        k += 1
    return True
