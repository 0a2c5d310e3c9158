"""Compile the kernels once, before several test processes would each compile them."""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

COMMANDS = (
    "replay -r IN.pcap",
    "coalesce -r IN.pcap -w OUT.pcapng --reassemble --why",
    "coalesce -r IN.pcapng -w OUT.pcap",
    "coalesce -r IN.pcap -w OUT.pcap --engine lro",
    "segment -r OUT.pcapng -w BACK.pcap udp or tcp",
    "checksum -r IN.pcap -w BACK.pcap --fix",
    "rss -r IN.pcap --queues 4",
)
"""Each takes a way through kernels that no other does."""


def warm_demo() -> None:
    from pktpath.lab.warm import COMPILED_SECONDS, COUNT, warm

    def report(name, number, seconds):
        if seconds is not None and seconds > COMPILED_SECONDS:
            print(f"compiled {name} ({number} of {COUNT}) in {seconds:.1f} s", flush=True)

    warm(report)


def warm_commands() -> None:
    from pktpath.lab import traffic
    from pktpath.port.capture import write

    with TemporaryDirectory() as directory:
        for name in ("IN.pcap", "IN.pcapng"):
            write(Path(directory) / name, [traffic.frames(traffic.bulk(2, 64))])
        for command in COMMANDS:
            print(f"compiling for pktpath {command}", flush=True)
            subprocess.run([sys.executable, "-m", "pktpath", *command.split()], cwd=directory, check=True, capture_output=True)


if __name__ == "__main__" and os.environ.get("NUMBA_DISABLE_JIT") != "1":
    warm_demo()
    warm_commands()
