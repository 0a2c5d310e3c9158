"""A private Open vSwitch through whose made-up ports frames go: in as text, out as a capture."""

import struct
import time

from support.open_vswitch import PATIENCE, OpenVSwitch


class DummySwitch(OpenVSwitch):
    """Bridge br0 with ports p1 and p2; what leaves by p2 is written to a capture."""

    def __enter__(self):
        """Start it, and wait for the capture."""
        super().__enter__()
        try:
            self.capture, self.seen = self.rundir / "p2.pcap", 0
            self.bridge("br0", {"p1": 1, "p2": 2}, "fail-mode=secure")
            self.vsctl("set", "interface", "p2", f"options:tx_pcap={self.capture}")
            self._await(self.capture)
        except BaseException:
            self.close()
            raise
        return self

    def flows(self, *lines):
        """Replace the flow table."""
        self.ofctl("-O", "OpenFlow13", "replace-flows", "br0", "-", given="\n".join(lines) + "\n")
        # Else frames that come at once may still meet megaflows of the table before.
        self.appctl("revalidator/purge")

    def send(self, frames):
        """Send frames into p1 and return those that have left by p2."""
        # A made-up port holds a hundred frames at most.
        out = []
        for first in range(0, len(frames), 50):
            some = frames[first : first + 50]
            self.appctl("netdev-dummy/receive", "p1", *(frame.hex() for frame in some))
            limit = time.monotonic() + PATIENCE
            while len(new := captured(self.capture)[self.seen :]) < len(some) and time.monotonic() < limit:
                time.sleep(0.005)
            self.seen += len(new)
            out += new
        return out

    def flow_of(self, frame):
        """Return the flow, as text, that the daemon extracts from a frame."""
        for line in self.appctl("ofproto/trace", "br0", "in_port=1", frame.hex()).splitlines():
            if line.startswith("Flow: "):
                return line.removeprefix("Flow: ")
        raise AssertionError(frame.hex())


def captured(path):
    """Return the whole frames of a capture that is being written."""
    data, at, frames = path.read_bytes(), 24, []
    while at + 16 <= len(data):
        length = struct.unpack_from("<I", data, at + 8)[0]
        if at + 16 + length > len(data):
            break
        frames.append(data[at + 16 : at + 16 + length])
        at += 16 + length
    return frames
