"""A network device that answers as a test says, to the real ethtool and to ours alike.

Most machines have no card with RSS, rings or coalescing of every kind. Here a program runs under a seccomp
filter that hands its SIOCETHTOOL calls and its generic netlink socket to this process (seccomp_unotify(2)),
which answers out of a `Device`. What the program sets is there afterwards, and every request is on record.
"""

import array
import ctypes
import errno
import fcntl
import functools
import os
import select
import socket
import struct
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

_NR = {"ioctl": 16, "socket": 41, "sendto": 44, "recvfrom": 45, "sendmsg": 46, "recvmsg": 47, "bind": 49, "getsockname": 51,
       "setsockopt": 54}  # fmt: skip
_NAMES = {number: name for name, number in _NR.items()}
_SIOCETHTOOL = 0x8946
_NOTIF_RECV, _NOTIF_SEND, _NOTIF_ADDFD = 0xC0502100, 0xC0182101, 0x40182103
_CONTINUE, _ADDFD_SEND = 1, 2
_GET_DRIVER, _GET_RINGS, _GET_STRINGS, _GET_STATS, _SET_INFO = 0x03, 0x2D, 0x1B, 0x1D, 0x37
_GET_HASH_FIELDS, _SET_HASH_FIELDS = 0x29, 0x2A
_GET_TABLE, _SET_TABLE, _GET_RSS, _SET_RSS = 0x38, 0x39, 0x46, 0x47
_STATS, _HASH_FUNCTIONS = 1, 5
_NO_TABLE_CHANGE, _DEFAULT_TABLE = 0xFFFFFFFF, 0


@dataclass
class Device:
    """What the device says; None in place of a part: not supported."""

    name: str = "fake0"
    netlink: bool = True
    """False: the kernel has no ethtool family, as before Linux 5.6."""
    channels: dict[int, int] | None = None
    """Netlink attributes of ETHTOOL_MSG_CHANNELS by number; so `rings` and `coalesce`."""
    rings: dict[int, int] | None = None
    coalesce: dict[int, int] | None = None
    queues: int | None = None
    """Receive rings, as ETHTOOL_GRXRINGS gives them."""
    table: list[int] | None = field(default_factory=list)
    key: bytes = b""
    functions: tuple[str, ...] = ("toeplitz", "xor", "crc32")
    function: int = 0
    """Bit of the hash function in use."""
    transformation: int = 0
    rss: bool = True
    """False: the table only, by the older calls."""
    hash_fields: dict[int, int] = field(default_factory=dict)
    statistics: dict[str, int] | None = None
    driver: tuple[str, str, str, str, str] | None = None
    """Driver, version, firmware version, bus info, expansion ROM version."""
    driver_counts: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0)
    """Private flags, statistics, tests, bytes of EEPROM and of registers."""
    refuse: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Changes that fail: "channels", "rings", "coalesce", "rss": errno, message."""
    most: dict[int, int] = field(default_factory=dict)
    """Coalescing attributes that are silently cut to a maximum."""
    requests: list = field(default_factory=list)


@functools.cache
def fake_missing() -> str | None:
    """Say what is missing for a device that a test makes up, or None."""
    if os.uname().machine != "x86_64":
        return "the made-up device knows the system call numbers of x86-64 only"
    if not hasattr(os, "pidfd_open") or run_on(Device(), "true").returncode:
        return "the made-up device needs seccomp user notification (Linux 5.14)"
    return None


def run_on(device: Device, *command: str, cwd: Path | None = None) -> subprocess.CompletedProcess:
    """Run a program that sees this device, and no other by generic netlink or SIOCETHTOOL."""
    told, tell = os.pipe()
    wait, go = os.pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, __file__, str(tell), str(wait), *command],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, pass_fds=(tell, wait), cwd=cwd,
        )  # fmt: skip
        os.close(tell)
        tell = -1
        number = int(os.read(told, 20) or b"-1")
        if number < 0:
            return subprocess.CompletedProcess(command, process.wait(), *process.communicate())
        pidfd = os.pidfd_open(process.pid)
        libc = ctypes.CDLL(None, use_errno=True)
        listener = libc.syscall(438, pidfd, number, 0)  # pidfd_getfd
        os.close(pidfd)
        if listener < 0:
            raise OSError(ctypes.get_errno(), "pidfd_getfd")
        server = threading.Thread(target=_Supervisor(device, listener).serve)
        server.start()
        os.write(go, b"!")
        output, errors = process.communicate(timeout=60)
        server.join(10)
        return subprocess.CompletedProcess(command, process.returncode, output, errors)
    finally:
        for fd in (told, tell, wait, go):
            if fd >= 0:
                os.close(fd)


class _Supervisor:
    """Answers the system calls of one program."""

    def __init__(self, device: Device, listener: int) -> None:
        self.device = device
        self.listener = listener
        from support.fake_netlink import Netlink

        self.netlink = Netlink(device)
        self.ours: dict[int, socket.socket] = {}
        self.inodes: dict[int, tuple[socket.socket, socket.socket]] = {}

    def serve(self) -> None:
        poll = select.poll()
        poll.register(self.listener, select.POLLIN)
        while True:
            events = poll.poll(20_000)
            if not events or not events[0][1] & select.POLLIN:
                break
            notice = array.array("B", bytes(80))
            try:
                fcntl.ioctl(self.listener, _NOTIF_RECV, notice)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.EINTR):
                    continue
                break
            ident, pid, _, number, _, _, *arguments = struct.unpack("QIIiIQ6Q", notice)
            value, code, flags = self._answer(ident, pid, _NAMES[number], arguments)
            if flags >= 0:
                try:
                    fcntl.ioctl(self.listener, _NOTIF_SEND, struct.pack("QqiI", ident, value, -code, flags))
                except OSError as error:
                    if error.errno != errno.ENOENT:
                        raise
        os.close(self.listener)
        for pair in self.inodes.values():
            for end in pair:
                end.close()

    def _answer(self, ident: int, pid: int, call: str, arguments: list[int]) -> tuple[int, int, int]:
        """Return the call's value, errno and flags; flags below 0: it is answered already."""
        memory = _Memory(pid)
        if call == "ioctl":
            try:
                _ioctl(self.device, memory, arguments[2])
            except OSError as error:
                return 0, error.errno, 0
            return 0, 0, 0
        if call == "socket":
            ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            self.inodes[os.fstat(ends[1].fileno()).st_ino] = ends
            request = struct.pack("QIIII", ident, _ADDFD_SEND, ends[1].fileno(), 0, arguments[1] & 0o2000000)
            fcntl.ioctl(self.listener, _NOTIF_ADDFD, request)
            return 0, 0, -1
        try:
            ends = self.inodes.get(Path(f"/proc/{pid}/fd/{arguments[0]}").stat().st_ino)
        except OSError:
            ends = None
        if ends is None:
            return 0, 0, _CONTINUE
        if call == "getsockname":
            memory.write(arguments[1], struct.pack("HHII", socket.AF_NETLINK, 0, pid, 0))
            memory.write(arguments[2], struct.pack("I", 12))
            return 0, 0, 0
        if call in ("sendto", "sendmsg"):
            data = memory.read(arguments[1], arguments[2]) if call == "sendto" else memory.gather(arguments[1])
            for reply in self.netlink.answer(data):
                ends[0].send(reply)
            return len(data), 0, 0
        if call in ("recvfrom", "recvmsg"):
            try:
                data = ends[1].recv(1 << 20, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return 0, errno.EAGAIN, 0
            if call == "recvfrom":
                memory.write(arguments[1], data[: arguments[2]])
                if arguments[4]:
                    memory.write(arguments[4], struct.pack("HHII", socket.AF_NETLINK, 0, 0, 0))
                    memory.write(arguments[5], struct.pack("I", 12))
            else:
                memory.scatter(arguments[1], data)
            return len(data), 0, 0
        return 0, 0, 0  # bind, setsockopt


class _Memory:
    """The memory of the program."""

    def __init__(self, pid: int) -> None:
        self.path = f"/proc/{pid}/mem"

    def read(self, address: int, length: int) -> bytes:
        with open(self.path, "rb", buffering=0) as memory:  # noqa: PTH123
            memory.seek(address)
            return memory.read(length)

    def write(self, address: int, data: bytes) -> None:
        with open(self.path, "r+b", buffering=0) as memory:  # noqa: PTH123
            memory.seek(address)
            memory.write(data)

    def unpack(self, form: str, address: int) -> tuple:
        return struct.unpack(form, self.read(address, struct.calcsize(form)))

    def _vectors(self, message: int) -> list[tuple[int, int]]:
        _, _, vector, count = self.unpack("QQQQ", message)
        return [self.unpack("QQ", vector + 16 * k) for k in range(count)]

    def gather(self, message: int) -> bytes:
        return b"".join(self.read(*vector) for vector in self._vectors(message))

    def scatter(self, message: int, data: bytes) -> None:
        for address, length in self._vectors(message):
            self.write(address, data[:length])
            data = data[length:]
        (name,) = self.unpack("Q", message)
        if name:
            self.write(name, struct.pack("HHII", socket.AF_NETLINK, 0, 0, 0))
            self.write(message + 8, struct.pack("I", 12))
        self.write(message + 40, struct.pack("QQ", 0, 0))


def _unsupported() -> OSError:
    return OSError(errno.EOPNOTSUPP, "not supported")


def _ioctl(device: Device, memory: _Memory, request: int) -> None:
    name, address = memory.unpack("16sQ", request)
    if name.rstrip(b"\0").decode() != device.name:
        raise OSError(errno.ENODEV, "no such device")
    (command,) = memory.unpack("I", address)
    if command == _GET_DRIVER:
        if device.driver is None:
            raise _unsupported()
        driver, version, firmware, bus, rom = (text.encode() for text in device.driver)
        memory.write(address + 4, struct.pack("32s32s32s32s32s12x5I", driver, version, firmware, bus, rom, *device.driver_counts))
    elif command == _SET_INFO:
        (mask,) = memory.unpack("Q", address + 8)
        sizes = {_STATS: len(device.statistics or ()), _HASH_FUNCTIONS: len(device.functions)}
        kept = [bit for bit in sizes if mask >> bit & 1 and not (bit == _STATS and device.statistics is None)]
        memory.write(address + 8, struct.pack("Q", sum(1 << bit for bit in kept)))
        memory.write(address + 16, b"".join(struct.pack("I", sizes[bit]) for bit in kept))
    elif command == _GET_STRINGS:
        (which,) = memory.unpack("I", address + 4)
        names = list(device.statistics or ()) if which == _STATS else device.functions
        memory.write(address + 8, struct.pack("I", len(names)) + b"".join(struct.pack("32s", text.encode()) for text in names))
    elif command == _GET_STATS:
        numbers = list((device.statistics or {}).values())
        memory.write(address + 4, struct.pack(f"=I{len(numbers)}Q", len(numbers), *numbers))
    elif command == _GET_RINGS:
        if device.queues is None:
            raise _unsupported()
        memory.write(address + 8, struct.pack("Q", device.queues))
    elif command in (_GET_HASH_FIELDS, _SET_HASH_FIELDS):
        (flow,) = memory.unpack("I", address + 4)
        if flow not in device.hash_fields:
            raise _unsupported()
        if command == _GET_HASH_FIELDS:
            memory.write(address + 8, struct.pack("Q", device.hash_fields[flow]))
        else:
            (device.hash_fields[flow],) = memory.unpack("Q", address + 8)
    else:
        _rss(device, memory, command, address)


def _rss(device: Device, memory: _Memory, command: int, address: int) -> None:
    if device.table is None or (command in (_GET_RSS, _SET_RSS) and not device.rss):
        raise _unsupported()
    if command == _GET_TABLE:
        (size,) = memory.unpack("I", address + 4)
        memory.write(address + 4, struct.pack("I", len(device.table)))
        if size:
            memory.write(address + 8, struct.pack(f"{size}I", *device.table))
        return
    if command == _SET_TABLE:
        (size,) = memory.unpack("I", address + 4)
        device.requests.append(("table", size))
        device.table = _table(device, list(memory.unpack(f"{size}I", address + 8)))
        return
    _, table, key, function, _ = memory.unpack("IIIBB", address + 4)
    if command == _GET_RSS:
        memory.write(
            address + 4, struct.pack("IIIBB", 0, len(device.table), len(device.key), device.function, device.transformation)
        )
        if table:
            memory.write(address + 24, struct.pack(f"{table}I", *device.table))
        if key:
            memory.write(address + 24 + 4 * table, device.key)
        return
    if command != _SET_RSS:
        raise _unsupported()
    device.requests.append(("rss", table, key, function))
    if "rss" in device.refuse:
        raise OSError(device.refuse["rss"][0], "refused")
    count = 0 if table == _NO_TABLE_CHANGE else table
    new = list(memory.unpack(f"{count}I", address + 24))
    if table != _NO_TABLE_CHANGE:
        device.table = _table(device, new)
    if key:
        device.key = memory.read(address + 24 + 4 * count, key)
    if function:
        device.function = function


def _table(device: Device, new: list[int]) -> list[int]:
    if not new:
        return [k % device.queues for k in range(len(device.table))]
    if max(new) >= device.queues:
        raise OSError(errno.EINVAL, "no such queue")
    return new


def _become(tell: int, wait: int, command: list[str]) -> None:
    """In the child: install the filter, say which descriptor listens, and become the program."""
    load, equal, leave, allow, notify = 0x20, 0x15, 0x06, 0x7FFF0000, 0x7FC00000
    # Code, jump when true, jump when false, value; offsets into struct seccomp_data.
    program = [(load, 0, 0, 0)]
    program += [(equal, 0, 3, _NR["ioctl"]), (load, 0, 0, 24), (equal, 0, 1, _SIOCETHTOOL), (leave, 0, 0, notify)]
    program += [(load, 0, 0, 0), (equal, 0, 5, _NR["socket"]), (load, 0, 0, 16), (equal, 0, 3, socket.AF_NETLINK)]
    program += [(load, 0, 0, 32), (equal, 0, 1, 16), (leave, 0, 0, notify), (load, 0, 0, 0)]
    for name, number in _NR.items():
        if name not in ("ioctl", "socket"):
            program += [(equal, 0, 1, number), (leave, 0, 0, notify)]
    program.append((leave, 0, 0, allow))
    code = b"".join(struct.pack("HBBI", *line) for line in program)
    text = ctypes.create_string_buffer(code, len(code))

    class Fprog(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(38, 1, 0, 0, 0)
    fprog = Fprog(len(program), ctypes.addressof(text))
    listener = libc.syscall(317, 1, 8, ctypes.byref(fprog))
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    os.write(tell, str(listener).encode())
    os.read(wait, 1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    _become(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
