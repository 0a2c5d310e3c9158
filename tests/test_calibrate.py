"""What receiving costs on this machine: how the figures are made, what is missing, and that nothing stays behind.

No figure is compared with a time that a busy machine could miss.
"""

import json
import math
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pktpath.lab.calibrate import Calibration, calibrate
from pktpath.lab.calibrate_bpf import PAYLOAD, SEQ
from pktpath.lab.calibrate_clock import gaps_of, in_blocks, longest_gap, own_round, spin
from pktpath.lab.calibrate_devices import Pair
from pktpath.lab.calibrate_figures import STEPS, UNITS, Figure, Missing, figure, line
from pktpath.lab.calibrate_process import idlest_cpus
from pktpath.nic.host_types import Costs
from support.naive_checksum import judge

WITHOUT = Path(__file__).parent / "support" / "without_capabilities.py"
OF_FRAMES = {"poll", "frame", "gro", "stack", "sum"}
CALIBRATE = """
import json, os
from pktpath.lab.calibrate import calibrate
print(json.dumps(calibrate(lambda *step: print(json.dumps(step), flush=True))), flush=True)
"""


def costs_of(found: Calibration) -> tuple[list[str], list[str]]:
    """Return the costs that were measured, and those that were not."""
    named = [reason.split(":")[0].split(", ") for reason in found.missing]
    return [row.split()[0] for row in found.lines], [cost for names in named for cost in names]


def check(found: Calibration) -> None:
    measured, missing = costs_of(found)
    assert sorted(measured + missing) == sorted(Costs._fields)
    assert measured == [cost for cost in Costs._fields if cost in measured]
    for cost in measured:
        value = getattr(found.costs, cost)
        assert isinstance(value, int)
        assert UNITS[cost].least <= value <= UNITS[cost].most
    for cost in missing:
        assert getattr(found.costs, cost) == getattr(Costs(), cost)


# How figures are made


def test_every_cost_has_limits_and_its_default_is_within():
    assert tuple(UNITS) == Costs._fields
    for cost, default in Costs()._asdict().items():
        assert UNITS[cost].least <= default <= UNITS[cost].most


def test_a_figure_is_the_median_with_its_spread():
    assert isinstance(figure("gro", [-20, 30, 40, 50, 60], "how"), Figure)
    assert figure("irq", [1400, 1500, 9000, 1300, 1450], "how") == Figure("irq", 1450, 1400, 1500, "how")
    assert line(Figure("byte", 51.4, 49.6, 60, "how")) == "byte      51 ps  (50 to 60)  how"


@pytest.mark.parametrize(
    "blocks",
    [[], [-50, -40, -30, -20, -10], [20, 30, -1, 40, 0], [20, 30, 40, 50], [1e6] * 5, [0.0] * 5, [100, math.nan, 100, 100, 100]],
)
def test_nonsense_is_refused(blocks):
    refused = figure("gro", blocks, "how")
    assert isinstance(refused, Missing)
    assert refused.cost == "gro"
    assert refused.why


def test_blocks_leave_other_processes_out():
    samples = [1000, 1100, 4_000_000] * 40
    assert in_blocks(samples) == [1050] * 5
    assert in_blocks([1000] * 49) == []
    assert in_blocks([4_000_000] * 1000) == []


def test_a_gap_belongs_to_the_call_that_it_overlaps():
    gaps = [(1000, 300), (5000, 700), (9000, 50_000)]
    assert gaps_of([(5100, 6000)], gaps) == [700]
    assert gaps_of([(4900, 6000)], gaps) == [700]
    assert gaps_of([(2000, 3000)], gaps) == []
    assert gaps_of([(70_000, 71_000)], gaps) == []
    assert gaps_of([(900, 1500), (8990, 9500)], gaps) == [300, 50_000]
    assert gaps_of([(1, 2)], []) == []


def test_the_loop_reads_the_clock():
    assert 1 <= own_round() < 1_000_000
    before = time.monotonic_ns()
    gaps = spin(20_000_000)
    after = time.monotonic_ns()
    assert after - before >= 20_000_000
    assert all(before <= start and length > 0 and start + length <= after for start, length in gaps)
    start, length = longest_gap(after, after + 10_000_000)
    assert length > 0
    assert start + length >= after


def test_the_idlest_cpus_are_those_that_we_may_use():
    assert sorted(idlest_cpus()) == sorted(os.sched_getaffinity(0))


CHILDREN = """
import os, time
from pktpath.lab.calibrate_process import child

with child(lambda write: (write(b"abc" * 50_000), write(str(os.getpid()).encode()))) as other:
    assert other.read(150_000) == b"abc" * 50_000
    assert int(other.read_all()) != os.getpid()
try:
    with child(lambda _: time.sleep(60)):
        1 / 0
except ZeroDivisionError:
    pass
with child(lambda _: 1 / 0) as other:
    assert other.read(1) == b""
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("none left")
"""


def test_a_child_tells_and_is_gone():
    # In a process with one thread, as it is meant to be.
    result = subprocess.run([sys.executable, "-c", CHILDREN], capture_output=True, text=True, check=True, timeout=30)
    assert result.stdout == "none left\n"


class PaperPair(Pair):
    """Addresses without devices."""

    def __init__(self):
        self.address, self.other, self.station = "192.0.2.1", "192.0.2.2", bytes.fromhex("020000000001")


@pytest.mark.parametrize("payload", [8, 1448])
def test_one_checksum_is_right_for_every_sequence_number(payload):
    frame = PaperPair().frame(1000, payload)
    assert len(frame) == PAYLOAD + payload
    for sequence in (0, 1, 1_000_000, 0x0000FFFF, 0xFFFF0000, 0x12345678, 0xFFFFFFFF):
        numbered = bytearray(frame)
        struct.pack_into("!I", numbered, SEQ, sequence)
        struct.pack_into("!I", numbered, PAYLOAD, ~sequence & 0xFFFFFFFF)
        assert judge(bytes(numbered)) == judge(frame)
        assert all("right" in word for word in judge(bytes(numbered)))


# Without privilege


@pytest.fixture(scope="module")
def unprivileged():
    command = [sys.executable, WITHOUT, "all", CALIBRATE]
    *steps, last = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.splitlines()
    costs, *rest = json.loads(last)
    return [json.loads(step) for step in steps], Calibration(Costs(*costs), *rest)


def test_without_privilege_the_rest_is_measured(unprivileged):
    _, found = unprivileged
    check(found)
    measured, missing = costs_of(found)
    assert set(missing) >= OF_FRAMES
    reason = next(reason for reason in found.missing if reason.startswith("poll"))
    assert reason == "poll, frame, gro, stack, sum: a network namespace needs CAP_SYS_ADMIN (run as root)"
    # These want nothing but a clock; a machine may still be too busy, or have one CPU.
    assert measured or len(found.missing) > 1


def test_steps_are_counted_from_0(unprivileged):
    steps, _ = unprivileged
    assert [number for number, _, _ in steps] == list(range(len(steps)))
    assert len(steps) == 5
    assert all(total == STEPS and label for _, total, label in steps)


def test_a_process_that_ends_early_is_told(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    found = calibrate()
    assert found.costs == Costs()
    assert found.lines == []
    assert found.missing == [f"{', '.join(Costs._fields)}: the measuring process ended early (status 1)"]


def test_a_process_that_hangs_is_ended(monkeypatch, tmp_path):
    hangs = tmp_path / "hangs"
    hangs.write_text("#!/bin/sh\nwhile :; do :; done\n")
    hangs.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(hangs))
    monkeypatch.setattr("pktpath.lab.calibrate._PATIENCE", 0.2)
    assert calibrate().missing == [f"{', '.join(Costs._fields)}: no answer within 0.2 seconds"]
    assert worker_of(os.getpid()) is None


def test_a_progress_that_raises_ends_it():
    with pytest.raises(ZeroDivisionError):
        calibrate(lambda number, *_: 1 / number)
    assert worker_of(os.getpid()) is None


# Nothing stays behind


def worker_of(parent: int) -> int | None:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"pktpath.lab.calibrate_worker" in words and str(parent).encode() in words:
            return int(path.parent.name)
    return None


def namespaces() -> dict[int, str]:
    found = {}
    for path in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            found[int(path.parent.parent.name)] = path.readlink().name
        except OSError:
            continue
    return found


def eventually(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def end_at_step(step, number):
    """Let a process calibrate, send it a signal at a step, and return its worker and the worker's namespace."""
    process = subprocess.Popen([sys.executable, "-c", CALIBRATE], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process:
        for text in process.stdout:
            if json.loads(text)[0] == step:
                break
        worker = worker_of(process.pid)
        namespace = namespaces()[worker]
        process.send_signal(number)
        process.wait(20)
    return worker, namespace


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
@pytest.mark.parametrize("step", [1, 2])
def test_whoever_is_interrupted_leaves_no_process(step, number):
    worker, _ = end_at_step(step, number)
    assert worker is not None
    assert eventually(lambda: not Path(f"/proc/{worker}").exists())
    # Its own children too: they have its command line.
    assert eventually(lambda: not any(b"calibrate_worker" in words for words in command_lines(worker)))


def command_lines(session: int) -> list[bytes]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(path.name)) == session:
                found.append((path / "cmdline").read_bytes())
        except OSError:
            continue
    return found


@pytest.mark.oracle
def test_whoever_is_interrupted_leaves_no_namespace():
    worker, namespace = end_at_step(5, signal.SIGINT)
    assert namespace != Path("/proc/self/ns/net").readlink().name
    assert eventually(lambda: not Path(f"/proc/{worker}").exists())
    assert eventually(lambda: namespace not in namespaces().values())


# With privilege


@pytest.mark.oracle
def test_all_is_measured():
    here = Path("/proc/self/ns/net").readlink()
    steps = []
    found = calibrate(lambda *step: steps.append(step))
    check(found)
    for reason in found.missing:
        if any(word in reason for word in ("not to be had", "BPF_F_TEST_XDP_LIVE_FRAMES", "not known")):
            pytest.skip(reason)
        # A busy machine may make nonsense of a figure, or have one CPU; all else is a fault.
        assert "is no cost" in reason or "two CPUs" in reason or "too few" in reason
    assert [step[0] for step in steps] == list(range(STEPS))
    assert Path("/proc/self/ns/net").readlink() == here
    assert not list(Path("/sys/class/net").glob("calibrate*"))
    assert worker_of(os.getpid()) is None


FRAMES = """
from pktpath.lab.calibrate_figures import Unmeasurable
from pktpath.lab.calibrate_frames import Frames
try:
    Frames()
except Unmeasurable as why:
    print(why)
"""


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("dropped", "reason"),
    [
        ("21", "a network namespace needs CAP_SYS_ADMIN (run as root)\n"),
        ("12", "veth devices need CAP_NET_ADMIN (run as root)\n"),
        ("12,21,39", "a network namespace needs CAP_SYS_ADMIN (run as root)\n"),
    ],
)
def test_the_missing_capability_is_named(dropped, reason):
    command = [sys.executable, WITHOUT, dropped, FRAMES]
    assert subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout == reason
