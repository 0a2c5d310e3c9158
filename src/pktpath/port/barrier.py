"""Words that another side of a ring writes or reads: loads that acquire, stores that release, and a fence for both.

What was stored before a releasing store is seen by whoever reads its value with an acquiring load. Addresses are
those of the process, aligned to four bytes. Interpreted, the same names go through ctypes, which on machines
with x86's order of stores is enough.
"""

from typing import Any

from pktpath.jit import JIT_DISABLED

if JIT_DISABLED:
    import ctypes

    def acquire32(address):
        """Return the 32-bit word at an address of the process; later loads are not done before it."""
        return ctypes.c_uint32.from_address(int(address)).value

    def release32(address, value):
        """Store a 32-bit word; earlier loads and stores are done before it."""
        ctypes.c_uint32.from_address(int(address)).value = int(value)

    def fence():
        """Do no load that follows before every store that went before is seen: the interpreter's own locks do it."""

else:
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    @intrinsic
    def acquire32(_typing: Any, address: Any) -> Any:
        """Return the 32-bit word at an address of the process; later loads are not done before it."""

        def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            word = builder.load_atomic(builder.inttoptr(args[0], ir.IntType(32).as_pointer()), "acquire", 4)
            return builder.zext(word, ir.IntType(64))

        return types.int64(types.int64), codegen

    @intrinsic
    def release32(_typing: Any, address: Any, value: Any) -> Any:
        """Store a 32-bit word; earlier loads and stores are done before it."""

        def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            word = builder.trunc(args[1], ir.IntType(32))
            builder.store_atomic(word, builder.inttoptr(args[0], ir.IntType(32).as_pointer()), "release", 4)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), codegen

    @intrinsic
    def fence(_typing: Any) -> Any:
        """Do no load that follows before every store that went before is seen."""

        def codegen(context: Any, builder: Any, _signature: Any, _args: Any) -> Any:
            builder.fence("seq_cst")
            return context.get_dummy_value()

        return types.void(), codegen
