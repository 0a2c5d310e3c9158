"""Small frames as fast as the kernel makes them: UDP of many flows into one end of a veth, from one CPU.

The kernel's test run sends a frame again and again through a program that writes the number of a flow into it
(BPF_F_TEST_XDP_LIVE_FRAMES) and hands it to the device. What drives it is a child process in the network namespace
of the sending end; the receiving end needs NAPI, which it has with GRO on (`ethtool -K PEER gro on`) or with an XDP
program in its driver. Beware: the receiving device's softirq runs on the generator's CPU.
"""

import contextlib
import errno
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from pktpath.errors import BadInput, Refused
from pktpath.lab.bpf_program import over_map
from pktpath.lab.calibrate_process import die_with_parent, libc
from pktpath.port.bpf_syscall import (
    MAP_ARRAY,
    REDIRECT_HELPER,
    create_map,
    instruction,
    load_xdp,
    look_up,
    run_live,
    update_map,
)

BURST = 64
"""Frames handed to the device at a time."""
SHORTEST = 50
_FOREVER = (1 << 31) - 1
_CLONE_NEWNET = 0x40000000
_NAME, _SOURCE, _PORT, _PAYLOAD = 18, 28, 34, 42
"""Offsets of what differs: the IP identification, the low half of the source address, the source port, two words of payload."""
_CODE = "import sys; from pktpath.lab.bench.generator import _serve; sys.exit(_serve(*sys.argv[1:]))"


class Blast:
    """A generator at work."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child
        self.made: int | None = None
        """Frames made, once it has stopped; a receiver that was too slow has dropped some of them."""

    def wait(self) -> int:
        """Wait until its seconds are over; return how many frames it made.

        Raises:
            Refused: the kernel did not let it.

        """
        if self.made is None:
            said, complaint = self._child.communicate()
            if self._child.returncode:
                raise Refused(complaint.strip().splitlines()[-1] if complaint.strip() else "the generator died")
            self.made = int(said)
        return self.made

    def stop(self) -> int:
        """End it now; return how many frames it made."""
        while self.made is None and self._child.poll() is None:
            # A signal that comes right before the system call does not end it.
            self._child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(0.1)
        return self.wait()


@contextlib.contextmanager
def blast(
    device: str,
    *,
    netns: str | None = None,
    cpu: int = 0,
    seconds: float | None = None,
    flows: int = 1,
    size: int = 64,
    target: str = "02:00:00:00:00:66",
    port: int = 9,
) -> Iterator[Blast]:
    """Send frames while the block runs; it starts when the first frame is about to leave.

    Args:
        device: the sending end of a veth: the frames arrive at its peer.
        netns: name of the network namespace of `device` (ip netns), this process's without.
        cpu: where to run.
        seconds: how long; until the end of the block without.
        flows: how many differ in source port and, beyond 65,536, source address; in turn.
        size: bytes of a frame, without FCS.
        target: destination address of the link.
        port: destination port.

    Raises:
        BadInput: no such device or namespace, too short a frame.
        Refused: no permission.

    """
    if not SHORTEST <= size <= 3000 or not 1 <= flows <= 1 << 32:
        message = f"frames have {SHORTEST} to 3000 bytes, not {size}, and belong to 1 to 2**32 flows, not {flows}"
        raise BadInput(message)
    words = (os.getpid(), device, netns or "", cpu, seconds or 0, flows, frame(size, target, port).hex())
    child = subprocess.Popen(
        [sys.executable, "-c", _CODE, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    blast = Blast(child)
    try:
        if child.stdout is None or child.stdout.readline() != "ready\n":
            blast.wait()
        yield blast
        blast.stop()
    finally:
        if child.poll() is None:
            child.kill()
        child.wait()
        for pipe in (child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()


def frame(size: int, target: str, port: int) -> bytes:
    """Return the frame of flow 0: valid checksums, which hold for every other flow too."""
    payload = struct.pack("!HH", 0xFFFF, 0xFFFF) + bytes(size - _PAYLOAD - 4)
    source, destination = bytes([10, 1, 0, 0]), bytes([10, 2, 0, 1])
    udp = struct.pack("!HHHH", 0, port, 8 + len(payload), 0)
    pseudo = source + destination + struct.pack("!HH", 17, 8 + len(payload))
    udp = udp[:6] + struct.pack("!H", _checksum(pseudo + udp + payload) or 0xFFFF)
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp + payload), 0xFFFF, 0x4000, 64, 17, 0, source, destination)
    ip = ip[:10] + struct.pack("!H", _checksum(ip)) + ip[12:]
    try:
        link = bytes.fromhex(target.replace(":", ""))
    except ValueError:
        link = b""
    if len(link) != 6:
        message = f"{target!r} is no Ethernet address"
        raise BadInput(message)
    return link + bytes.fromhex("020000000001") + b"\x08\x00" + ip + udp + payload


def _checksum(content: bytes) -> int:
    content += bytes(len(content) % 2)
    total = sum(struct.unpack(f"!{len(content) // 2}H", content))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def program(counter: int) -> bytes:
    """Return the instructions that write the next flow into a frame and send it.

    The map holds four 32-bit words and one of 64 bits: next flow, flows (0 stands for 2**32), device, nothing, frames
    made. Each half of the number is written twice, once as its complement, so that no sum changes.
    """
    half = [
        instruction(0xDC, 2, value=16),  # to network order
        instruction(0x6B, 7, 2, _PORT),
        instruction(0xA7, 2, value=-1),
        instruction(0x6B, 7, 2, _PAYLOAD),
        instruction(0xDC, 3, value=16),
        instruction(0x6B, 7, 3, _SOURCE),
        instruction(0xA7, 3, value=-1),
        instruction(0x6B, 7, 3, _PAYLOAD + 2),
        instruction(0x6B, 7, 3, _NAME),
    ]
    body = [
        instruction(0x61, 2, 0),  # r2 = the flow
        instruction(0xBF, 3, 2),
        instruction(0x77, 3, value=16),
        instruction(0xBF, 4, 2),
        instruction(0x07, 4, value=1),
        instruction(0x61, 5, 0, 4),
        instruction(0x1D, 4, 5, 1),  # the last one: begin again
        instruction(0x05, offset=1),
        instruction(0xB7, 4),
        instruction(0x63, 0, 4),
        instruction(0x79, 4, 0, 16),  # one frame more
        instruction(0x07, 4, value=1),
        instruction(0x7B, 0, 4, 16),
        *half,
        instruction(0x61, 1, 0, 8),  # r1 = the device
        instruction(0xB7, 2),
        instruction(0x85, value=REDIRECT_HELPER),
        instruction(0x95),
    ]
    return over_map(counter, _PAYLOAD + 4, body)


def _serve(parent: str, device: str, netns: str, cpu: str, seconds: str, flows: str, content: str) -> int | str:
    """Be the child: say that it begins, send, and say how many frames it made."""
    try:
        die_with_parent(int(parent))
        os.sched_setaffinity(0, {int(cpu)})
        if netns:
            _enter(netns)
        try:
            ifindex = socket.if_nametoindex(device)
        except OSError:
            message = f"{device}: no such device"
            raise BadInput(message) from None
        counter = create_map(MAP_ARRAY, 24, 1)
        update_map(counter, 0, struct.pack("=IIIIQ", 0, int(flows) & 0xFFFFFFFF, ifindex, 0, 0))
        code = load_xdp(program(counter))
    except (BadInput, Refused, OSError) as error:
        return str(error)
    # One system call sends it all, since each begins by waiting for every CPU; a signal ends it.
    over: list[int] = []
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, lambda number, _frame: over.append(number))
    os.write(1, b"ready\n")
    if float(seconds):
        signal.setitimer(signal.ITIMER_REAL, float(seconds))
    try:
        while not over:
            run_live(code, bytes.fromhex(content), _FOREVER, BURST)
    except OSError as error:
        if error.errno != errno.EINTR:
            return f"{device}: the kernel sends no frames of its own (BPF_F_TEST_XDP_LIVE_FRAMES, Linux 5.18): {error.strerror}"
    # A signal that comes when Python has put its handlers away would kill it.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (made,) = struct.unpack_from("=Q", look_up(counter, 0, 24), 16)
    os.write(1, f"{made}\n".encode())
    return 0


def _enter(netns: str) -> None:
    try:
        space = os.open(Path("/run/netns") / netns, os.O_RDONLY)
    except OSError:
        message = f"{netns}: no such network namespace"
        raise BadInput(message) from None
    if libc.setns(space, _CLONE_NEWNET):
        message = f"{netns}: entering a network namespace needs CAP_SYS_ADMIN (run as root)"
        raise Refused(message)
    os.close(space)
