"""pcap-filter expressions: compiled by the system's libpcap, run by our own machine (`bpf`).

Source: pcap-filter(7), pcap_compile(3PCAP).
"""

import ctypes
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pktpath.batch import Batch
from pktpath.port import bpf
from pktpath.port.capture_types import CaptureError, Interface

_LIBRARIES = ("libpcap.so.0.8", "libpcap.so.1", "libpcap.so")
_SNAPLEN = 262144
_NETMASK_UNKNOWN = 0xFFFFFFFF
_LINKTYPE_RAW, _DLT_RAW = 101, 12
"""The one link type of ours whose number in a file differs from libpcap's."""


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("count", ctypes.c_uint), ("instructions", ctypes.POINTER(_Instruction)))


@cache
def _libpcap() -> ctypes.CDLL:
    for name in _LIBRARIES:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.pcap_open_dead.restype = ctypes.c_void_p
        library.pcap_geterr.restype = ctypes.c_char_p
        library.pcap_geterr.argtypes = library.pcap_close.argtypes = (ctypes.c_void_p,)
        library.pcap_compile.argtypes = (
            ctypes.c_void_p, ctypes.POINTER(_Program), ctypes.c_char_p, ctypes.c_int, ctypes.c_uint32,
        )  # fmt: skip
        library.pcap_freecode.argtypes = (ctypes.POINTER(_Program),)
        library.pcap_freecode.restype = library.pcap_close.restype = None
        return library
    file = "filter"
    raise CaptureError(file, "filter expressions need libpcap (Debian package libpcap0.8)")


def compile_filter(expression: str, linktype: int) -> NDArray[np.int64]:
    """Compile an expression for a link type to a checked program, int64[instructions, 4].

    Raises:
        CaptureError: libpcap refuses the expression (its message) or is not installed.

    """
    library = _libpcap()
    label = f"filter {expression!r}"
    number = linktype & 0xFFFF
    handle = library.pcap_open_dead(_DLT_RAW if number == _LINKTYPE_RAW else number, _SNAPLEN)
    if not handle:
        message = "libpcap has no memory"
        raise CaptureError(label, message)
    compiled = _Program()
    try:
        if library.pcap_compile(handle, compiled, expression.encode(), 1, _NETMASK_UNKNOWN):
            message = (library.pcap_geterr(handle) or b"refused").decode(errors="replace")
            raise CaptureError(label, " ".join(message.split()))
        rows = [(step.code, step.jt, step.jf, step.k) for step in compiled.instructions[: compiled.count]]
        library.pcap_freecode(compiled)
    finally:
        library.pcap_close(handle)
    program = np.array(rows, np.int64).reshape(-1, 4)
    try:
        bpf.check(program)
    except ValueError as error:
        raise CaptureError(label, str(error)) from error
    return program


class Filter:
    """One expression, compiled for each link type as its first interface appears."""

    def __init__(self, expression: str) -> None:
        """Take an expression in the language of pcap-filter(7)."""
        self.expression = expression
        self._program = np.zeros((0, 4), np.int64)
        self._rows: dict[int, int] = {}
        self._starts = np.zeros(1, np.int64)
        self._count = 0
        self._scratch = np.zeros(bpf.MEMORY, np.int64)

    def declare(self, interface: Interface) -> None:
        """Compile for the next interface of the capture.

        Raises:
            CaptureError: libpcap refuses the expression for this link type, or is not installed.

        """
        linktype = interface.linktype & 0xFFFF
        if linktype not in self._rows:
            self._rows[linktype] = len(self._program)
            self._program = np.concatenate([self._program, compile_filter(self.expression, linktype)])
        if self._count == len(self._starts):
            self._starts = np.concatenate([self._starts, np.zeros_like(self._starts)])
        self._starts[self._count] = self._rows[linktype]
        self._count += 1

    def keep(self, batch: Batch, first: int) -> None:
        """Take the frames from `first` on that do not match out of a batch."""
        bpf.keep_matching(batch, first, self._program, self._starts, self._scratch)
