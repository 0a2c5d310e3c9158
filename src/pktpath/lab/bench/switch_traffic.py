"""What is sent through a forwarder and what is read off: TCP by iperf3, small frames, echoes, frames of ever new flows."""

import ctypes
import json
import os
import secrets
import socket
import statistics
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pktpath.errors import Refused
from pktpath.lab.bench.generator import blast
from pktpath.lab.bench.switch_peers import GENERATOR_CPU
from pktpath.lab.bench.switch_process import program, started
from pktpath.lab.bench.switch_topology import NOWHERE_MAC, RECEIVER_IP, SENDER_MAC, Topology

# TCP


@contextmanager
def tcp_server(place: Topology) -> Iterator[None]:
    """Let iperf3 answer at the receiver.

    Raises:
        PeerMissingError: iperf3 is not installed.

    """
    binary = program("iperf3", "iperf3")
    with started(place.receiver.words(binary, "--server", "--forceflush"), place.directory / "iperf3.log") as server:
        server.wait_until(lambda: "listening" in server.log(), "iperf3 --server")
        yield


def tcp(place: Topology, seconds: float) -> float:
    """Send one TCP stream for so long and return what arrived, in Gbit/s.

    Raises:
        Refused: no connection, or nothing arrived.

    """
    words = ["iperf3", "--client", RECEIVER_IP, "--time", f"{max(round(seconds), 1)}", "--json", "--connect-timeout", "3000"]
    return gbits(place.sender.run(*words, seconds=seconds + 15))


def gbits(text: str) -> float:
    """Return what arrived, in Gbit/s, out of the JSON that iperf3's client printed.

    Raises:
        Refused: iperf3 reported an error, or nothing that can be read.

    """
    try:
        answer: dict[str, Any] = json.loads(text)
        if "error" in answer:
            message = f"iperf3: {answer['error']}"
            raise Refused(message)
        return float(answer["end"]["sum_received"]["bits_per_second"]) / 1e9
    except (ValueError, KeyError, TypeError) as error:
        message = f"iperf3: an answer without end.sum_received: {text[:60]!r}"
        raise Refused(message) from error


# Small frames


def small_frames(place: Topology, seconds: float, *, flows: int = 1) -> tuple[float, float]:
    """Saturate the sender's device with frames of 64 bytes; return the thousands a second that arrived, and that were made."""
    space = f"/proc/{place.sender.pid}/ns/net"
    with blast("g0", netns=space, cpu=GENERATOR_CPU, flows=flows, target=NOWHERE_MAC) as generator:
        begin = time.monotonic()
        time.sleep(min(seconds / 4, 0.3))
        arrived = rate(place.count, seconds)
        made = generator.stop() / (time.monotonic() - begin)
    return arrived / 1e3, made / 1e3


def rate(count: Callable[[], int], seconds: float) -> float:
    """Return how fast a counter grows, a second, over so long a window."""
    first, begin = count(), time.monotonic()
    time.sleep(seconds)
    last, end = count(), time.monotonic()
    return (last - first) / (end - begin)


# Frames of ever new flows

_SIZE, _BURST = 64, 64
_SOURCE, _TARGET = 26, 30
"""Offsets of the addresses in an IPv4 header behind Ethernet's."""
_ETH_P_ALL, _SOL_PACKET, _QDISC_BYPASS = 3, 263, 20


def new_flows(place: Topology, seconds: float, count: Callable[[], int]) -> tuple[float, float]:
    """Send frames each of which belongs to a new flow; return how fast `count` grows, and how many were sent, a second.

    Source and destination address are random and each other's complement, so no checksum changes.
    """
    stop = threading.Event()
    sent = [0, 0.0]
    thread = threading.Thread(target=_send_new_flows, args=(place, stop, sent))
    thread.start()
    try:
        time.sleep(min(seconds / 4, 0.3))
        grown = rate(count, seconds)
    finally:
        stop.set()
        thread.join()
    return grown, sent[0] / sent[1]


def _send_new_flows(place: Topology, stop: threading.Event, sent: list[float]) -> None:
    os.sched_setaffinity(0, {GENERATOR_CPU})
    frames, messages, _vectors = _messages()
    random = np.random.default_rng(secrets.randbits(64))
    sendmmsg = ctypes.CDLL(None, use_errno=True).sendmmsg
    with place.sender.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as out:
        out.setsockopt(_SOL_PACKET, _QDISC_BYPASS, 1)
        out.bind(("g0", 0))
        begin = time.monotonic()
        while not stop.is_set():
            fresh = random.integers(0, 1 << 32, _BURST, np.uint32)
            frames[:, _SOURCE : _SOURCE + 4] = fresh.view(np.uint8).reshape(_BURST, 4)
            frames[:, _TARGET : _TARGET + 4] = (~fresh).view(np.uint8).reshape(_BURST, 4)
            sent[0] += max(sendmmsg(out.fileno(), ctypes.c_void_p(messages.ctypes.data), _BURST, 0), 0)
        sent[1] = time.monotonic() - begin


def _messages() -> tuple[NDArray[np.uint8], NDArray[np.uint64], NDArray[np.uint64]]:
    """Return a burst of frames, the messages that sendmmsg(2) takes, and what these point to."""
    frames = np.zeros((_BURST, _SIZE), np.uint8)
    frames[:] = np.frombuffer(udp_frame(), np.uint8)
    vectors = np.zeros((_BURST, 2), np.uint64)
    vectors[:, 0] = frames.ctypes.data + _SIZE * np.arange(_BURST, dtype=np.uint64)
    vectors[:, 1] = _SIZE
    # struct mmsghdr: name, its length, iovecs, how many, control, its length, flags; 64 bytes.
    messages = np.zeros((_BURST, 8), np.uint64)
    messages[:, 2] = vectors.ctypes.data + 16 * np.arange(_BURST, dtype=np.uint64)
    messages[:, 3] = 1
    return frames, messages, vectors


def udp_frame(flow: int = 0, *, size: int = _SIZE, port: int = 9) -> bytes:
    """Return a UDP frame whose IP header is valid and whose UDP checksum is absent; a flow is an address and a port."""
    source = struct.pack("!BBH", 10, 1, flow >> 16) if flow >> 16 else bytes([10, 1, 0, 0])
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, size - 14, 0, 0x4000, 64, 17, 0, source, bytes([10, 2, 0, 1]))
    total = sum(struct.unpack("!10H", ip))
    total = (total & 0xFFFF) + (total >> 16)
    ip = ip[:10] + struct.pack("!H", ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF) + ip[12:]
    link = bytes.fromhex((NOWHERE_MAC + SENDER_MAC).replace(":", "")) + b"\x08\x00"
    return link + ip + struct.pack("!HHHH", flow & 0xFFFF, port, size - 34, 0) + bytes(size - 42)


# Echoes


def round_trip(place: Topology, count: int = 200, *, gap: float = 0.002) -> float:
    """Return the median time of an ICMP echo, in microseconds.

    Raises:
        Refused: fewer than half came back.

    """
    times: list[float] = []
    with _on_core(GENERATOR_CPU), place.sender.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as ping:
        ping.settimeout(0.5)
        mark = secrets.randbits(16)
        for number in range(count):
            begin = time.perf_counter()
            ping.sendto(echo_request(mark, number), (RECEIVER_IP, 0))
            if _answered(ping, mark, number):
                times.append((time.perf_counter() - begin) * 1e6)
            elif number >= 5 and not times:
                break
            time.sleep(gap)
    if len(times) < count / 2:
        message = f"{len(times)} of {count} echoes came back"
        raise Refused(message)
    return statistics.median(times)


@contextmanager
def _on_core(core: int) -> Iterator[None]:
    """Keep this thread away from where a forwarder polls: it would wait for the end of a time slice."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _answered(ping: socket.socket, mark: int, number: int) -> bool:
    try:
        while True:
            answer = ping.recv(2048)
            header = 4 * (answer[0] & 15)
            if answer[header] == 0 and struct.unpack_from("!HH", answer, header + 4) == (mark, number):
                return True
    except TimeoutError:
        return False


def echo_request(mark: int, number: int) -> bytes:
    """Return an ICMP echo request with 56 bytes of payload, as ping(8) sends (RFC 792)."""
    content = struct.pack("!BBHHH", 8, 0, 0, mark, number) + bytes(56)
    total = sum(struct.unpack(f"!{len(content) // 2}H", content))
    total = (total & 0xFFFF) + (total >> 16)
    return content[:2] + struct.pack("!H", ~total & 0xFFFF) + content[4:]
