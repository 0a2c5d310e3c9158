"""Two hosts and the box between them, as network namespaces: A (g0) - (f0) F (f1) - (r0) B.

A namespace has no name in /run/netns: it lives in the process that holds it, and ends with it, whatever ends that one.
The devices in it, and so the bridges and taps that a peer makes there, go the same way.
"""

import ctypes
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pktpath.errors import Refused
from pktpath.lab.bench.switch_process import Daemon, Words, run, started

SENDER_IP, RECEIVER_IP = "10.77.0.1", "10.77.0.2"
SENDER_MAC, RECEIVER_MAC = "02:00:00:77:00:01", "02:00:00:77:00:02"
NOWHERE_MAC = "02:00:00:77:00:09"
"""Destination of generated frames: the receiver's device counts them and its stack drops them."""
IN_DEVICE, OUT_DEVICE = "f0", "f1"
"""The devices of the box in the middle."""
_CLONE_NEWNET = 0x40000000


@dataclass(frozen=True)
class Namespace:
    """A network namespace, and a mount namespace with its own /sys."""

    holder: Daemon

    @property
    def pid(self) -> int:
        """The process that holds it."""
        return self.holder.pid

    def words(self, *command: str | Path) -> list[str | Path]:
        """Return the command that runs a command in it."""
        return ["nsenter", "--target", str(self.pid), "--net", "--mount", *command]

    def run(self, *command: str | Path, seconds: float = 10) -> str:
        """Run a command in it.

        Raises:
            Refused: the command failed.

        """
        return run(self.words(*command), seconds=seconds)

    def received(self, device: str) -> int:
        """Return the frames that a device has received since it is there."""
        for line in Path(f"/proc/{self.pid}/net/dev").read_text().splitlines():
            name, _, figures = line.partition(":")
            if name.strip() == device:
                return int(figures.split()[1])
        message = f"{device}: no such device in the namespace of the bench"
        raise Refused(message)

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """Return a socket of this namespace, wherever the caller is."""
        made: list[socket.socket | OSError] = []

        def make() -> None:
            libc = ctypes.CDLL(None, use_errno=True)
            with Path(f"/proc/{self.pid}/ns/net").open("rb") as file:
                if libc.setns(file.fileno(), _CLONE_NEWNET):
                    made.append(OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno())))
                    return
            try:
                made.append(socket.socket(family, kind, protocol))
            except OSError as error:
                made.append(error)

        # setns(2) moves the calling thread only, and this one ends here.
        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        if isinstance(made[0], OSError):
            raise made[0]
        return made[0]


@contextmanager
def namespace(directory: Path, name: str) -> Iterator[Namespace]:
    """Make a namespace that lasts as long as the context."""
    script = "mount -t sysfs sysfs /sys && echo ready && exec sleep infinity"
    words: Words = ["unshare", "--net", "--mount", "sh", "-c", script]
    with started(words, directory / f"{name}.log") as holder:
        holder.wait_until(lambda: "ready" in holder.log(), "unshare --net")
        made = Namespace(holder)
        # Neighbour discovery of IPv6 would be frames that nobody generated.
        made.run("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6")
        made.run("ip", "link", "set", "lo", "up")
        yield made


@dataclass(frozen=True)
class Topology:
    """The three namespaces of one contender."""

    sender: Namespace
    box: Namespace
    receiver: Namespace
    directory: Path

    def count(self) -> int:
        """Return the frames that have arrived at the receiver."""
        return self.receiver.received("r0")

    def features(self, place: str, **switches: bool) -> None:
        """Switch offloads of the devices of `place`: ends, box, sender, receiver.

        Raises:
            Refused: ethtool, or the device, does not.

        """
        devices = [(self.sender, "g0"), (self.receiver, "r0"), (self.box, IN_DEVICE), (self.box, OUT_DEVICE)]
        chosen = {"ends": devices[:2], "sender": devices[:1], "receiver": devices[1:2], "box": devices[2:]}[place]
        for space, device in chosen:
            words = [word for name, on in switches.items() for word in (name, "on" if on else "off")]
            space.run("ethtool", "-K", device, *words)


@contextmanager
def topology(directory: Path) -> Iterator[Topology]:
    """Make the namespaces and the veths between them, with addresses, all up.

    Raises:
        PeerMissingError: the kernel makes no namespaces here.
        Refused: a device cannot be made.

    """
    with ExitStack() as stack:
        directory.mkdir(mode=0o700, exist_ok=True)
        sender, box, receiver = (stack.enter_context(namespace(directory, name)) for name in ("sender", "box", "receiver"))
        ends = ((sender, "g0", IN_DEVICE, SENDER_IP, SENDER_MAC), (receiver, "r0", OUT_DEVICE, RECEIVER_IP, RECEIVER_MAC))
        for space, device, inner, address, mac in ends:
            link = ["ip", "link", "add", device, "address", mac, "netns", str(space.pid), "type", "veth"]
            run([*link, "peer", "name", inner, "netns", str(box.pid)])
            space.run("ip", "address", "add", f"{address}/24", "dev", device)
            space.run("ip", "link", "set", device, "up")
            box.run("ip", "link", "set", inner, "up")
        for space, device, address, mac in ((sender, "g0", RECEIVER_IP, RECEIVER_MAC), (receiver, "r0", SENDER_IP, SENDER_MAC)):
            space.run("ip", "neighbour", "replace", address, "lladdr", mac, "dev", device, "nud", "permanent")
        yield Topology(sender, box, receiver, directory)
