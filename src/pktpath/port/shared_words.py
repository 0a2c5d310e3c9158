"""What a thread that runs compiled and Python share without a lock: words in the window, and descriptors kept there.

A word at an address of `mem` is stored after everything before it and loaded before everything behind it
(release and acquire), so one producer and one consumer need nothing else. On x86 that costs nothing.
"""

from typing import Any

import numpy as np

from pktpath.batch import DESCRIPTOR
from pktpath.jit import JIT_DISABLED

DESCRIPTOR_BYTES = DESCRIPTOR.itemsize

if JIT_DISABLED:

    def load_word(mem, at):
        """Return the 64-bit word at `at`, a multiple of 8, as others left it."""
        return np.int64(mem[at : at + 8].view(np.int64)[0])

    def store_word(mem, at, value):
        """Let others see `value` at `at`, a multiple of 8, and everything that was stored before it."""
        mem[at : at + 8].view(np.int64)[0] = value

    def take_descriptor(frames, i, mem, at):
        """Copy the descriptor that lies at `at` to `frames[i]`."""
        np.asarray(frames)[i] = mem[at : at + DESCRIPTOR_BYTES].view(DESCRIPTOR)[0]

    def keep_descriptor(mem, at, frames, i):
        """Copy descriptor `i` of `frames` to `at`."""
        mem[at : at + DESCRIPTOR_BYTES].view(DESCRIPTOR)[0] = np.asarray(frames)[i]

else:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    def _bytes_at(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
        """Pointer to bytes: element `index` of an array."""
        data = context.make_array(array_type)(context, builder, array).data
        return builder.bitcast(cgutils.gep(builder, data, index), ir.IntType(8).as_pointer())

    @intrinsic
    def load_word(_typing: Any, mem: Any, at: Any) -> Any:
        """Return the 64-bit word at `at`, a multiple of 8, as others left it."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            place = _bytes_at(context, builder, signature.args[0], args[0], args[1])
            return builder.load_atomic(builder.bitcast(place, ir.IntType(64).as_pointer()), "acquire", 8)

        return types.int64(mem, types.int64), codegen

    @intrinsic
    def store_word(_typing: Any, mem: Any, at: Any, value: Any) -> Any:
        """Let others see `value` at `at`, a multiple of 8, and everything that was stored before it."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            place = _bytes_at(context, builder, signature.args[0], args[0], args[1])
            builder.store_atomic(args[2], builder.bitcast(place, ir.IntType(64).as_pointer()), "release", 8)
            return context.get_dummy_value()

        return types.void(mem, types.int64, types.int64), codegen

    def _copy_descriptor(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        to = _bytes_at(context, builder, signature.args[0], args[0], args[1])
        origin = _bytes_at(context, builder, signature.args[2], args[2], args[3])
        cgutils.raw_memcpy(builder, to, origin, ir.Constant(ir.IntType(64), DESCRIPTOR_BYTES), 1)
        return context.get_dummy_value()

    @intrinsic
    def take_descriptor(_typing: Any, frames: Any, i: Any, mem: Any, at: Any) -> Any:
        """Copy the descriptor that lies at `at` to `frames[i]`."""
        return types.void(frames, types.int64, mem, types.int64), _copy_descriptor

    @intrinsic
    def keep_descriptor(_typing: Any, mem: Any, at: Any, frames: Any, i: Any) -> Any:
        """Copy descriptor `i` of `frames` to `at`."""
        return types.void(mem, types.int64, frames, types.int64), _copy_descriptor
