"""Compile the kernels once, before several test processes would each compile them."""

import os
import random
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


def warm_switch() -> None:
    """Compile what a datapath thread runs, and the kernels around it."""
    from support.memory_switch import LiveSwitch
    from support.switch_traffic import likely_frame

    print("compiling for pktpath switch", flush=True)
    with LiveSwitch(["actions=NORMAL"]) as switch:
        switch.send(1, likely_frame(random.Random(1)))
        switch.revalidate()
        switch.engine.start()


if __name__ == "__main__":
    # Run as a program, it has its own directory for the modules beside it.
    sys.path.insert(0, str(Path(__file__).parent.parent))
if __name__ == "__main__" and os.environ.get("NUMBA_DISABLE_JIT") != "1":
    warm_demo()
    warm_commands()
    warm_switch()
