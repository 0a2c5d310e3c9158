"""System calls from compiled code: libc's symbols, which numba resolves in the process and keeps on disk by name.

Every address and length is an int64, so that arithmetic around a call stays integer. A result of -1 is read
together with `errno()`, at once and in the same thread. Interpreted, the same names go through ctypes.
"""

from typing import Any

from pktpath.jit import JIT_DISABLED, kernel

if JIT_DISABLED:
    import ctypes

    _LIBC = ctypes.CDLL(None, use_errno=True)

    def _twin(name: str, *sizes: int) -> Any:
        function = getattr(_LIBC, name)
        function.restype = ctypes.c_int64
        kinds = {32: ctypes.c_int32, 64: ctypes.c_int64}
        function.argtypes = [kinds[size] for size in sizes[1:]]
        bits = sizes[0]

        def call(*arguments: int) -> int:
            result = int(function(*(int(value) for value in arguments)))
            # A 32-bit result leaves the upper half of the register as it was.
            return result if bits == 64 else ctypes.c_int32(result & 0xFFFFFFFF).value

        return call

    def errno():
        """Return why the last call of this thread failed."""
        return ctypes.get_errno()

else:
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    def _twin(name: str, *sizes: int) -> Any:
        kinds: dict[int, Any] = {32: types.int32, 64: types.int64}
        return types.ExternalFunction(name, kinds[sizes[0]](*(kinds[size] for size in sizes[1:])))

    _errno_location: Any = types.ExternalFunction("__errno_location", types.int64())

    def _load_int32(_typing: Any, address: Any) -> Any:
        """Value at an address of the process."""

        def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return builder.load(builder.inttoptr(args[0], ir.IntType(32).as_pointer()))

        return types.int32(types.int64), codegen

    _int32_at: Any = intrinsic(_load_int32)

    @kernel
    def errno():
        """Return why the last call of this thread failed."""
        return _int32_at(_errno_location())


# name, then bits of the result and of each argument (int and unsigned int 32; pointer, size_t and ssize_t 64)
read: Any = _twin("read", 64, 32, 64, 64)
write: Any = _twin("write", 64, 32, 64, 64)
readv: Any = _twin("readv", 64, 32, 64, 32)
writev: Any = _twin("writev", 64, 32, 64, 32)
recvmsg: Any = _twin("recvmsg", 64, 32, 64, 32)
recvmmsg: Any = _twin("recvmmsg", 32, 32, 64, 32, 32, 64)
sendmsg: Any = _twin("sendmsg", 64, 32, 64, 32)
sendmmsg: Any = _twin("sendmmsg", 32, 32, 64, 32, 32)
sendto: Any = _twin("sendto", 64, 32, 64, 64, 32, 64, 32)
recvfrom: Any = _twin("recvfrom", 64, 32, 64, 64, 32, 64, 64)
poll: Any = _twin("poll", 32, 64, 64, 32)
epoll_wait: Any = _twin("epoll_wait", 32, 32, 64, 32, 32)
nanosleep: Any = _twin("nanosleep", 32, 64, 64)
