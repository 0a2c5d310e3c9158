"""Real super-frames: two network namespaces, a veth between them, and a transfer that both ends capture.

Run as a program, `python -m support.sender FOLDER BIG`: writes sent.pcap (captured at the sender: super-frames
whose checksums were left to the device) and received.pcap (at a receiver that merges nothing), TCP and UDP
over IPv4 and IPv6. BIG is the gso_max_size to ask for; prints what the kernel gave.
"""

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

MTU = 1500
UDP_SEGMENT = 103
ADDRESSES = {socket.AF_INET: ("10.9.9.1", "10.9.9.2"), socket.AF_INET6: ("fd09::1", "fd09::2")}


def run(line: str, *, check: bool = True) -> str:
    return subprocess.run(line.split(), check=check, capture_output=True, text=True).stdout


def transfer(family: int, server_pid: int, total: int) -> None:
    """Send `total` bytes over TCP, and UDP datagrams that the kernel or the device cuts, to the other namespace."""
    target = ADDRESSES[family][1]
    data = bytes(range(251)) * (total // 251 + 1)
    with socket.create_connection((target, 5001), 10) as stream:
        stream.sendall(data[:total])
        stream.shutdown(socket.SHUT_WR)
        assert int(stream.makefile().readline()) == total
    with socket.socket(family, socket.SOCK_DGRAM) as datagrams:
        datagrams.connect((target, 5002))
        datagrams.setsockopt(socket.SOL_UDP, UDP_SEGMENT, 1200)
        for size in (1200 * 20, 1200 * 3 + 7, 1201):
            datagrams.send(data[:size])


def serve() -> None:
    """Take what `transfer` sends, over both families."""
    for family in ADDRESSES:
        threading.Thread(target=_serve, args=(family,), daemon=True).start()


def _serve(family: int) -> None:
    sink = socket.socket(family, socket.SOCK_DGRAM)
    sink.bind((ADDRESSES[family][1], 5002))
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.bind((ADDRESSES[family][1], 5001))
    listener.listen()
    while True:
        stream, _ = listener.accept()
        total = 0
        while piece := stream.recv(1 << 20):
            total += len(piece)
        stream.sendall(f"{total}\n".encode())


def main(folder: Path, big: int) -> None:
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:  # the receiver, in a namespace of its own inside ours
        import ctypes

        assert ctypes.CDLL(None).unshare(0x40000000) == 0
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        run("ip link set lo up")
        run("ip addr add 10.9.9.2/24 dev far0")
        run("ip addr add fd09::2/64 dev far0 nodad")
        run("ip link set far0 up")
        run("ethtool -K far0 gro off lro off tso off gso off", check=False)
        serve()
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    run(f"ip link add near0 type veth peer name far0 netns {child}")
    if big:
        run(f"ip link set near0 gso_max_size {big}")
        run(f"ip link set near0 gso_ipv4_max_size {big}", check=False)  # not every iproute2 knows it
    run("ip addr add 10.9.9.1/24 dev near0")
    run("ip addr add fd09::1/64 dev near0 nodad")
    run("ip link set near0 up")
    os.write(go[1], b"x")
    os.read(ready[0], 1)
    tcpdump = ["tcpdump", "-U", "-s", "0", "-B", "65536"]
    inside = ["nsenter", "-t", str(child), "-n"]
    captures = [
        subprocess.Popen([*tcpdump, "-i", "near0", "-w", folder / "sent.pcap", "ip or ip6"], stderr=subprocess.PIPE),
        subprocess.Popen([*inside, *tcpdump, "-i", "far0", "-w", folder / "received.pcap", "ip or ip6"], stderr=subprocess.PIPE),
    ]
    for capture in captures:
        capture.stderr.readline()  # "listening on"
    time.sleep(0.2)
    for family in ADDRESSES:
        transfer(family, child, 3_000_000)
    time.sleep(1.5)  # a block of the ring is handed over after a second; slots that hand over at once cut BIG TCP
    for capture in captures:
        capture.terminate()
        capture.communicate(timeout=20)
    os.write(go[1], b"x")
    os.waitpid(child, 0)
    words = run("ip -d link show near0").split()
    print(*(words[words.index(name) + 1] for name in ("gso_max_size", "gso_ipv4_max_size") if name in words))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
