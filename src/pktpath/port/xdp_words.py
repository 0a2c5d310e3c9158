"""Words at addresses of the process, for rings that the kernel shares: plain loads and stores in the machine's order.

What orders them is `barrier`. Every address and value is an int64. Interpreted, the same names go through ctypes.
"""

from collections.abc import Callable
from typing import Any

from pktpath.jit import JIT_DISABLED

if JIT_DISABLED:
    import ctypes

    _KINDS: dict[int, Any] = {8: ctypes.c_uint8, 32: ctypes.c_uint32, 64: ctypes.c_int64}

    def _get(bits: int) -> Callable[..., Any]:
        def get(address: int) -> int:
            return int(_KINDS[bits].from_address(int(address)).value)

        return get

    def _put(bits: int) -> Callable[..., Any]:
        def put(address: int, value: int) -> None:
            _KINDS[bits].from_address(int(address)).value = int(value)

        return put

else:
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    def _get(bits: int) -> Callable[..., Any]:
        @intrinsic
        def get(_typing: Any, address: Any) -> Any:
            def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
                value = builder.load(builder.inttoptr(args[0], ir.IntType(bits).as_pointer()))
                return builder.zext(value, ir.IntType(64)) if bits < 64 else value

            return types.int64(types.int64), codegen

        return get

    def _put(bits: int) -> Callable[..., Any]:
        @intrinsic
        def put(_typing: Any, address: Any, value: Any) -> Any:
            def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
                word = ir.IntType(bits)
                value = builder.trunc(args[1], word) if bits < 64 else args[1]
                builder.store(value, builder.inttoptr(args[0], word.as_pointer()))
                return context.get_dummy_value()

            return types.void(types.int64, types.int64), codegen

        return put


get8: Any = _get(8)
get32: Any = _get(32)
get64: Any = _get(64)
put8: Any = _put(8)
put64: Any = _put(64)
