"""How compiled code is made: one decorator, one private cache.

Numba's cache does not see a change in another file, so the cache directory is named by a hash
of every source that may reach a kernel and by numba's version; it is private (0700) because numba
loads pickles from it. Importing this module costs the import of numba: only rooms with kernels import it.
"""

import hashlib
import os
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

PACKAGE = Path(__file__).parent
_KEPT_CACHES = 3
_NOT_COMPILED = ("cli", "doctor", "control")
"""Rooms that neither hold kernels nor constants of kernels."""

F = TypeVar("F", bound=Callable[..., Any])


def _source_hash() -> str:
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.relative_to(PACKAGE).parts[0] not in _NOT_COMPILED:
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _private_cache() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pktpath"
    # Numba would take code compiled without bounds checks for code with them.
    checked = "-boundscheck" if os.environ.get("NUMBA_BOUNDSCHECK", "0") != "0" else ""
    cache = base / f"numba-{version('numba')}-{_source_hash()}{checked}"
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = cache.stat()
    if state.st_uid != os.geteuid() or state.st_mode & 0o077:
        message = f"{cache} must belong to this user alone (mode 0700): remove it and run again"
        raise PermissionError(message)
    os.utime(cache)
    _forget_old_caches(base)
    return cache


def _forget_old_caches(base: Path) -> None:
    import shutil

    caches = sorted(base.glob("numba-*"), key=lambda path: path.stat().st_mtime)
    for old in caches[:-_KEPT_CACHES]:
        shutil.rmtree(old, ignore_errors=True)


if "NUMBA_CACHE_DIR" not in os.environ:
    try:
        os.environ["NUMBA_CACHE_DIR"] = str(_private_cache())
    except OSError:
        # A read-only home: numba then compiles anew in each process, which is slow but right.
        os.environ["NUMBA_CACHE_DIR"] = "/nonexistent/pktpath"

import numba  # noqa: E402  the cache directory must be set first
from numba.extending import register_jitable  # noqa: E402

_config: Any = numba.config
JIT_DISABLED = bool(_config.DISABLE_JIT)
BOUNDSCHECK = bool(_config.BOUNDSCHECK)

# Without numba's reference counting, which here costs a hundred times the work: a kernel allocates
# nothing, and its caller keeps the arrays alive.
_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "cache": not os.environ["NUMBA_CACHE_DIR"].startswith("/nonexistent"),
    "error_model": "numpy",
    "_nrt": False,
}


def kernel(function: F) -> F:
    """Compile for whole batches: without the interpreter lock, kept on disk, division as in C."""
    compiled: F = numba.njit(**_OPTIONS)(function)
    return compiled


def inlined(function: F) -> F:
    """Compile a part of a kernel: LLVM puts it into its caller, so that a batch is not passed by value.

    It has no entry of its own from Python, which would double the time that a kernel takes to
    compile: called from Python it is interpreted.
    """
    if JIT_DISABLED:
        return function
    inside: F = register_jitable(forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, **_OPTIONS)(function)
    return inside


def on_compile(start: Callable[[str], object], end: Callable[[], object]) -> None:
    """Call `start(name)` before a kernel is compiled in this process and `end()` behind it; loading is silent."""
    from numba.core import event

    class Listener(event.Listener):
        depth = 0  # a kernel's parts are compiled inside it

        def on_start(self, event: Any) -> None:
            if self.depth == 0:
                start(event.data["dispatcher"].py_func.__name__)
            self.depth += 1

        def on_end(self, event: Any) -> None:
            self.depth -= 1
            if self.depth == 0:
                end()

    event.register("numba:compile", Listener())


# Stages compiled apart. A kernel's callees are compiled again on every floor above them, which for a whole
# packet path is minutes. A stage is compiled once, for itself, and called through its address. What all stages share is a
# NamedTuple of NamedTuples and arrays: a stage gets one pointer, behind which stands a pointer to each part, and opens what
# it needs.

if JIT_DISABLED:
    _STAGES: list[Any] = []

    def stage(function: F) -> F:
        """Compile apart, to be called through `call_stage`: (shared, a, b, c, d) -> int64, all but `shared` int64."""
        _STAGES.append(function)
        return function

    def _as_it_is(context: Any) -> Any:
        return context

    def _call_by_number(address: int, shared: Any, a: int, b: int, c: int, d: int) -> int:
        return int(_STAGES[address](shared, a, b, c, d))

    shared_of: Any = _as_it_is
    opened: Any = _as_it_is
    call_stage: Any = _call_by_number

    def stage_address(function: Any, context: Any) -> int:
        """Return the address of a stage, compiled for a NamedTuple like this."""
        return _STAGES.index(function)

else:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    def stage(function: F) -> F:
        """Compile apart, to be called through `call_stage`: (shared, a, b, c, d) -> int64, all but `shared` int64."""
        options: Any = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, **_OPTIONS}
        compiled: F = numba.njit(**options)(function)
        return compiled

    def _parts_of(context: Any) -> Any:
        """Type of the pointers to the parts of a NamedTuple of this type."""
        return types.NamedTuple([types.CPointer(part) for part in context.types], context.instance_class)

    def _shared_of(_typing: Any, context: Any) -> Any:
        parts = _parts_of(context)

        def codegen(target: Any, builder: Any, signature: Any, args: Any) -> Any:
            places = []
            for at, kind in enumerate(signature.args[0].types):
                place = cgutils.alloca_once(builder, target.get_data_type(kind))
                target.pack_value(builder, kind, builder.extract_value(args[0], at), place)
                places.append(place)
            whole = cgutils.alloca_once(builder, target.get_data_type(parts))
            target.pack_value(builder, parts, target.make_tuple(builder, parts, places), whole)
            return whole

        return types.CPointer(parts)(context), codegen

    def _opened(_typing: Any, pointer: Any) -> Any:
        def codegen(target: Any, builder: Any, signature: Any, args: Any) -> Any:
            return target.unpack_value(builder, signature.return_type, args[0])

        return pointer.dtype(pointer), codegen

    def _call_stage(_typing: Any, address: Any, shared: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kinds = signature.args[1:]
            function = context.call_conv.get_function_type(types.int64, kinds)
            pointer = builder.inttoptr(args[0], ir.PointerType(function))
            status, result = context.call_conv.call_function(builder, pointer, types.int64, kinds, args[1:])
            with cgutils.if_unlikely(builder, status.is_error):
                context.call_conv.return_status_propagate(builder, status)
            return result

        return types.int64(types.int64, shared, *(types.int64,) * 4), codegen

    shared_of = intrinsic(_shared_of)
    """Return what stages take for a NamedTuple; valid as long as the caller runs."""
    opened = intrinsic(_opened)
    """Return the parts of what a stage was given, or one part."""
    call_stage = intrinsic(_call_stage)
    """Call a stage by its address: (address, shared, a, b, c, d)."""

    def stage_address(function: Any, context: Any) -> int:
        """Return the address of a stage, compiled for a NamedTuple like this."""
        arguments = (types.CPointer(_parts_of(numba.typeof(context))), *(types.int64,) * 4)
        function.compile(types.int64(*arguments))
        result = function.overloads[arguments]
        address: int = result.library.get_pointer_to_function(result.fndesc.llvm_func_name)
        return address
