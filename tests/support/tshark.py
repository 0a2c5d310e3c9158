"""tshark as the judge of captures: bad checksums, malformed frames, and the bytes of TCP streams."""

import shutil
import subprocess

import pytest

CHECKED = ["-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"]
BAD = (
    "ip.checksum.status==0 || tcp.checksum.status==0 || udp.checksum.status==0 || (_ws.malformed && !tcp.payload && !udp.payload)"
)
"""Random payload is malformed to whatever dissector the port calls; headers must not be."""


def tshark(path, *arguments):
    """Lines that tshark prints of a capture, with every checksum checked."""
    if not shutil.which("tshark"):
        pytest.skip("tshark is not installed")
    done = subprocess.run(["tshark", "-r", path, *CHECKED, *arguments], capture_output=True, text=True, check=False)
    problems = [line for line in done.stderr.splitlines() if line and "Running as user" not in line]
    assert (done.returncode, problems) == (0, []), done.stderr
    return done.stdout.splitlines()


def bad_frames(path, display=BAD):
    """What tshark says of the frames that it finds wrong."""
    return tshark(path, "-Y", display, "-T", "fields", "-e", "frame.number", "-e", "_ws.col.Info")


def streams(path):
    """Payload of each direction of each TCP connection: by sequence number, whatever frame carried it."""
    names = ["ip.src", "ipv6.src", "tcp.srcport", "tcp.dstport", "tcp.seq", "tcp.payload"]
    found: dict[tuple[str, ...], bytearray] = {}
    fields = [word for name in names for word in ("-e", name)]
    for line in tshark(path, "-Y", "tcp.len > 0", "-o", "tcp.desegment_tcp_streams:FALSE", "-T", "fields", *fields):
        *flow, sequence, payload = line.split("\t")
        data, at = bytes.fromhex(payload.replace(":", "")), int(sequence) - 1
        stream = found.setdefault(tuple(flow), bytearray())
        stream.extend(bytes(max(0, at + len(data) - len(stream))))
        stream[at : at + len(data)] = data
    return {flow: bytes(data) for flow, data in found.items()}


def datagrams(path):
    """All UDP payload, in the order of the capture, of each sender."""
    found: dict[str, bytes] = {}
    for line in tshark(path, "-Y", "udp", "-T", "fields", "-e", "ip.src", "-e", "ipv6.src", "-e", "udp.payload"):
        *sender, payload = line.split("\t")
        found["".join(sender)] = found.get("".join(sender), b"") + bytes.fromhex(payload.replace(":", ""))
    return found
