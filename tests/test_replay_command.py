"""`pktpath replay` as a command: what it is told, what it says, and the claims about interrupts that it must show."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from pktpath.cli import common, pktpath
from pktpath.cli.replay_options import cost_words, parse_costs
from pktpath.cli.replay_text import softnet_lines
from pktpath.errors import BadInput
from pktpath.features import request
from pktpath.lab import traffic
from pktpath.lab.replay_html import Part, bar, page_of, steps
from pktpath.lab.replay_traffic import Traffic, parse_traffic
from pktpath.lab.replay_words import findings, imbalance, percent, poll_groups, span
from pktpath.nic.host_types import Costs
from pktpath.nic.settings import NicSettings
from pktpath.path.compare import alternatives
from pktpath.path.replay import replay_capture
from pktpath.path.replay_types import CpuReport, QueueReport, Replayed, ReplayOptions
from pktpath.port.capture import write

SLOW_LINK = "80M,1500,frames=200"
"""The load of the claims: a frame every 150 microseconds."""


@pytest.fixture
def call(capsys):
    """Run the command in this process: (status, standard output, standard error without what compiling says)."""

    def run(*arguments):
        capsys.readouterr()
        status = common.run(pktpath, ["replay", *map(str, arguments)])
        out, err = capsys.readouterr()
        lines = [line for line in err.splitlines(keepends=True) if not line.startswith("compiling kernels")]
        return status, out, "".join(lines)

    return run


@pytest.fixture
def done_of(call):
    """Run the command with --json and return what it printed; it must succeed."""

    def run(*arguments):
        status, out, err = call(*arguments, "--json")
        assert status == 0, err
        return json.loads(out)

    return run


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    """Bulk TCP of five flows in trains of four."""
    path = tmp_path_factory.mktemp("replay") / "bulk.pcap"
    write(path, [traffic.frames(traffic.bulk(5, 400, train=4))])
    return path


def interrupts_a_second(done):
    """Intervals between interrupts in a second: one less than interrupts, since the time starts with the first."""
    return (done["interrupts"] - 1) / done["seconds"]


# What it says


def test_every_frame_is_delivered_or_counted(capture, done_of):
    for flags in (
        [],
        ["--queues", 2, "--ring", 64, "--speed", 100],
        ["--receive", "netif_rx", "--max-backlog", 3, "--speed", 20],
        ["--rps", "--max-backlog", 1, "--speed", 50],
        ["-C", "rx-frames=7"],
        ["-K", "lro", "on", "--threaded"],
        ["--busy-poll", 5, "--weight", 2, "--budget", 3],
    ):
        done = done_of("-r", capture, *flags)
        assert done["frames"] == 400
        assert done["stack_segments"] + sum(done["drops"].values()) + done["waiting"] == 400, flags


def test_the_report_names_every_stage(capture, call):
    status, out, err = call("-r", capture, "--queues", 4, "--speed", "3/2")
    assert (status, err) == (0, "")
    for word in (
        "card",
        "host",
        "wire",
        "queue",
        "interrupts",
        "polls",
        "softirq",
        "drops",
        "stack",
        "waiting",
        "host time",
        "busiest",
    ):
        assert re.search(rf"^{word}\b", out, re.MULTILINE), word
    assert "3/2 times as fast" in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_filter_selects_what_arrives(capture, done_of):
    whole = done_of("-r", capture)
    one = done_of("-r", capture, "src host 10.1.0.2")
    assert (whole["frames"], one["frames"]) == (400, 80)


def test_drops_are_named_with_the_counter_of_a_host(call):
    status, out, _ = call(
        "--traffic", "8G,1500,link=40G,frames=1000", "--queues", 1, "--ring", 64, "-K", "gro", "off", "--cost", "stack=20000"
    )
    assert status == 0
    assert "rx_missed_errors" in out
    assert "overload" in out


def test_the_same_capture_and_flags_give_the_same_bytes(capture, tmp_path):
    outputs = []
    for run in ("1", "2"):
        page = tmp_path / f"{run}.html"
        arguments = [
            sys.executable,
            "-m",
            "pktpath",
            "replay",
            "-r",
            str(capture),
            "--compare",
            "--html",
            str(page),
            "--rfs",
            "src host 10.1.0.2",
        ]
        done = subprocess.run(arguments, capture_output=True, check=True, env=os.environ | {"PYTHONHASHSEED": run})
        outputs.append((done.stdout, page.read_bytes()))
    assert outputs[0] == outputs[1]
    assert len(outputs[0][0]) > 2000


def test_standard_input(capture):
    arguments = [sys.executable, "-m", "pktpath", "replay", "-r", "-", "--json"]
    with capture.open("rb") as stream:
        done = subprocess.run(arguments, stdin=stream, capture_output=True, check=True)
    assert json.loads(done.stdout)["frames"] == 400


def test_a_truncated_capture_is_replayed_as_far_as_it_goes(capture, tmp_path, call):
    broken = tmp_path / "broken.pcap"
    broken.write_bytes(capture.read_bytes()[:-700])
    status, out, err = call("-r", broken, "--html", tmp_path / "x.html")
    assert status == 1
    assert err.count("\n") == 1
    assert str(broken) in err
    assert "399 frames" in out
    assert "truncated" in (tmp_path / "x.html").read_text()


def test_a_capture_without_frames(tmp_path, call):
    write(tmp_path / "empty.pcap", [])
    status, out, err = call("-r", tmp_path / "empty.pcap", "--html", tmp_path / "x.html", "--compare")
    assert (status, err) == (0, "")
    assert "0 frames" in out
    parsed((tmp_path / "x.html").read_text())


def test_no_frames_are_one_line(capture, tmp_path, call, done_of):
    write(tmp_path / "empty.pcap", [])
    assert call("-r", tmp_path / "empty.pcap") == (0, f"0 frames: {tmp_path / 'empty.pcap'} holds none\n", "")
    assert call("-r", capture, "udp", "port 9") == (0, f"0 frames: none of {capture} matches udp port 9\n", "")
    assert done_of("-r", capture, "udp")["frames"] == 0
    assert len(call("-r", capture, "--softnet", "--cpus", 2, "udp")[1].splitlines()) == 2


def test_a_capture_that_ends_within_its_first_frame(capture, tmp_path, call):
    (tmp_path / "cut.pcap").write_bytes(capture.read_bytes()[:100])
    status, out, err = call("-r", tmp_path / "cut.pcap")
    assert (status, out) == (1, "")
    assert err.startswith(f"pktpath: {tmp_path / 'cut.pcap'}: truncated")
    assert err.count("\n") == 1


def test_softnet_stat_has_the_columns_of_the_kernel(call, done_of):
    flags = ["--traffic", "8G,1500,flows=9,frames=600", "--queues", 3, "--budget", 2]
    _, out, _ = call(*flags, "--softnet")
    done = done_of(*flags)
    rows = [[int(word, 16) for word in line.split(" ")] for line in out.splitlines()]
    assert all(re.fullmatch(r"[0-9a-f]{8}( [0-9a-f]{8}){14}", line) for line in out.splitlines())
    for number, (row, cpu) in enumerate(zip(rows, done["cpus"], strict=True)):
        assert row[:3] == [cpu["processed"], cpu["dropped"], cpu["time_squeeze"]]
        assert row[9:11] == [cpu["received_rps"], cpu["flow_limit_count"]]
        assert row[11:] == [0, number, 0, 0]
    assert sum(row[2] for row in rows) > 0


@pytest.mark.parametrize("flags", [["--json"], ["--compare"], ["--json", "--compare"]])
def test_softnet_stat_is_printed_alone(capture, tmp_path, call, flags):
    status, out, err = call("-r", capture, "--softnet", "--html", tmp_path / "x.html", *flags)
    assert (status, out) == (1, "")
    assert err == f"pktpath: --softnet prints its lines alone: leave out {flags[0]}\n"
    assert list(tmp_path.iterdir()) == []


def test_a_counter_of_softnet_stat_wraps_as_the_kernel_s_does():
    assert softnet_lines(made(cpus=[cpu(processed=(1 << 32) + 5)]))[0].startswith("00000005 ")


# The claims about interrupts


def test_80_mbit_of_1500_bytes_is_6667_interrupts_a_second(done_of):
    before = done_of("--traffic", SLOW_LINK, "--receive", "netif_rx")
    now = done_of("--traffic", SLOW_LINK)
    for done in (before, now):
        assert done["interrupts"] == done["frames"] == done["stack_frames"] == 200
        assert interrupts_a_second(done) == pytest.approx(80e6 / (8 * 1500), rel=1e-3)
    assert set(now["poll_sizes"]) == {"1"}


@pytest.mark.parametrize(
    ("load", "flags", "most"),
    [
        ("80M,1500,burst=16,frames=208", [], 0.6),
        (SLOW_LINK, ["-C", "rx-usecs=1000"], 0.2),
        (SLOW_LINK, ["--gro-flush-timeout", "200000", "--napi-defer-hard-irqs", "2"], 0.05),
        (SLOW_LINK, ["--cost", "stack=200000"], 0.75),
        (SLOW_LINK, ["--speed", "100"], 0.6),
        ("8G,1500,link=40G,frames=1000", ["-C", "adaptive-rx=on"], 0.35),
    ],
    ids=["bursts", "rx-usecs", "deferral", "a slow host", "a faster link", "adaptive"],
)
def test_interrupts_fall_with(load, flags, most, done_of):
    done = done_of("--traffic", load, *flags)
    assert sum(done["drops"].values()) == 0
    assert done["stack_segments"] == done["frames"]
    assert done["interrupts"] <= most * done["frames"]


def test_overload_before_napi_is_livelock_and_with_it_a_full_ring(done_of):
    """Above the rate that a CPU can serve, netif_rx delivers less and less, NAPI as much as before."""
    flags = ["--queues", 1, "--ring", 64, "-K", "gro", "off"]
    delivered = {"netif_rx": [], "napi": []}
    lost = []
    for load in ("4G", "6G", "8G"):
        for receive, rates in delivered.items():
            done = done_of("--traffic", f"{load},1500,link=40G,frames=1000", "--receive", receive, "--max-backlog", 40, *flags)
            rates.append(done["stack_segments"] / done["seconds"])
            assert (done["drops"]["backlog"] > 0) == (receive == "netif_rx" and load != "4G")
            if receive == "netif_rx":
                lost.append(done["seconds_by_stage"]["lost"] / done["seconds"])
    before, napi = delivered["netif_rx"], delivered["napi"]
    assert before[0] > 300_000
    assert before[0] > before[1] > before[2]
    assert before[2] < 0.2 * before[0]
    assert lost[0] == 0
    assert lost[1] > 0.3
    assert lost[2] > 0.85
    assert min(napi[1:]) >= napi[0]


# The card and the host


def test_features_and_what_depends_on_them(capture, done_of, call):
    merged = done_of("-r", capture, "--speed", 50)["merged"]
    assert merged > 0
    assert done_of("-r", capture, "--speed", 50, "-K", "gro", "off")["merged"] == 0
    assert done_of("-r", capture, "--speed", 50, "-K", "rx-gro", "off", "-K", "gro", "on")["merged"] == merged
    status, out, err = call("-r", capture, "-K", "tso", "on", "-K", "sg", "off")
    assert (status, out) == (1, "")
    assert "tx-tcp-segmentation" in err
    assert "needs tx-scatter-gather" in err
    assert err.count("\n") == 1


def test_where_lro_merges_the_losses_of_gro_stand_beside(done_of, call):
    """As a run of its own with GRO would have told them."""
    load = ["--traffic", "8G,1500,burst=8,frames=400", "-C", "rx-usecs=100"]
    lro, gro = done_of(*load, "-K", "lro", "on"), done_of(*load)
    assert lro["lro"]
    assert lro["losses_of_gro"] == gro["losses"]
    assert lro["losses_of_gro"]["merged"] > 0
    assert "losses_of_gro" not in gro
    _, out, _ = call(*load, "-K", "lro", "on")
    for label, losses in (("cut back", lro["losses"]), ("with GRO", gro["losses"])):
        line = f"{losses['lost']} of {losses['merged']} merged frames cannot be rebuilt"
        assert re.search(rf"^{label} +{line}", out, re.MULTILINE), label
    assert "with GRO" not in call(*load)[1]


def test_what_can_be_read_once_has_no_losses_of_gro_beside(capture):
    arguments = [sys.executable, "-m", "pktpath", "replay", "-r", "-", "--json", "-K", "lro", "on", "--speed", "50"]
    with capture.open("rb") as stream:
        done = json.loads(subprocess.run(arguments, stdin=stream, capture_output=True, check=True).stdout)
    assert done["losses"]["merged"] > 0
    assert "losses_of_gro" not in done


def test_the_options_reach_the_replay(capture, done_of):
    done = done_of("-r", capture, "--queues", 4, "--cpus", 2, "--indirection", "3,3,3,3")
    assert [queue["frames"] for queue in done["queues"]] == [0, 0, 0, 400]
    assert len(done["cpus"]) == 2
    assert done["cpus"][1]["processed"] > 0
    sliced = done_of("-r", capture, "--key", "symmetric", "--fields", "tcp4=sd", "--queues", 4)
    assert sliced["queues"] != done["queues"]
    slow = done_of("-r", capture, "--cost", "irq=9000", "--cost", "byte=0.5,stack=1")
    assert slow["seconds_by_stage"]["irq"] == pytest.approx(9e-6 * slow["interrupts"])
    assert done_of("-r", capture, "--speed", "0.5")["seconds"] == pytest.approx(2 * done_of("-r", capture)["seconds"], rel=0.05)


def test_what_has_no_effect_is_said(call):
    for flags, word in (
        (["--napi-defer-hard-irqs", "2"], "--gro-flush-timeout"),
        (["-C", "rx-frames=32"], "without rx-usecs"),
        (["-C", "adaptive-rx=on,rx-usecs=5"], "have no effect"),
        (["--receive", "netif_rx", "--threaded"], "polls no queue"),
    ):
        status, _, err = call("--traffic", "80M,1500,frames=40", *flags)
        assert status == 0
        assert err.startswith("pktpath: ")
        assert err.count("\n") == 1
        assert word in err


def test_a_card_of_ours_starts_a_replay_and_keeps_its_counters(tmp_path, done_of, call):
    store = pytest.importorskip("pktpath.nic.store")
    card = tmp_path / "my.nic"
    store.create_nic(card, NicSettings(queues=4, rx_usecs=20, features=request(NicSettings().features, {"gro": False})))
    flags = ["--traffic", "8G,1500,flows=9,frames=600"]
    done = done_of(*flags, "--nic", card)
    assert done == done_of(*flags, "--queues", 4, "-C", "rx-usecs=20", "-K", "gro", "off")
    counted = store.load_statistics(card)
    assert counted["rx_packets"] == done["stack_segments"] == 600
    assert sum(counted[f"rx_queue_{k}_packets"] for k in range(4)) == 600
    assert counted["rx_interrupts"] == done["interrupts"]
    assert store.load_nic(card).queues == 4
    assert len(done_of(*flags, "--nic", card, "--queues", 2)["queues"]) == 2
    assert call(*flags, "--nic", tmp_path / "none.nic")[0] == 1


def test_calibrated_costs_are_printed_and_used(monkeypatch, call, capture):
    pytest.importorskip("pktpath.lab.calibrate")
    from pktpath.lab import calibrate

    measured = calibrate.Calibration(Costs(irq=4321, byte=75), ["irq 4321 ns  made up"], ["wake: nobody sleeps"])
    monkeypatch.setattr(calibrate, "calibrate", lambda progress: measured)
    status, out, err = call("--calibrate")
    assert status == 0
    assert out.splitlines() == ["irq 4321 ns  made up", f"--cost {cost_words(Costs(irq=4321, byte=75))}"]
    assert "wake: nobody sleeps" in err
    status, out, _ = call("--calibrate", "-r", capture, "--cost", "poll=1", "--json")
    done = json.loads(out)
    assert (done["cost"]["irq"], done["cost"]["poll"], done["calibration"]) == (4321, 1, ["irq 4321 ns  made up"])
    assert done["seconds_by_stage"]["irq"] == pytest.approx(4321e-9 * done["interrupts"])


# Compare


def test_each_row_is_what_its_flags_give(done_of):
    load = ["--traffic", "8G,1500,burst=4,flows=9,frames=240", "--queues", 4]
    rows = done_of(*load, "--compare")["compare"]
    assert [row["name"] for row in rows] == [
        "as given", "gro off", "lro on", "rx-checksum off", "1 queue", "adaptive-rx on", "rx-usecs 50", "deferral", "threaded",
        "busy poll", "rps", "netif_rx",
    ]  # fmt: skip
    assert rows[0]["ratio"] == 1
    for row in rows:
        done = done_of(*load, *row["flags"].split())
        assert row["interrupts"] == done["interrupts"] + done["timers"], row["name"]
        assert (row["polls"], row["stack_frames"]) == (done["polls"], done["stack_frames"])
        assert (row["delivered"], row["drops"]) == (done["stack_segments"], sum(done["drops"].values()))
        assert row["cpu_seconds"] == sum(done["seconds_by_stage"].values())
        assert row["ratio"] == row["cpu_seconds"] / row["delivered"] / (rows[0]["cpu_seconds"] / rows[0]["delivered"])
    assert rows[1]["stack_frames"] > rows[0]["stack_frames"]
    assert rows[6]["wait_p99_us"] > rows[0]["wait_p99_us"] > 0


def test_a_switch_that_is_on_is_compared_with_off():
    card = NicSettings(
        queues=1, adaptive_rx=True, rx_usecs=30, rx_frames=9, gro_flush_timeout=1, napi_defer_hard_irqs=1, threaded=True,
        features=request(NicSettings().features, {"gro": False, "lro": True, "rx": False}),
    )  # fmt: skip
    base = ReplayOptions(settings=card, busy_poll=1, rps=True)
    names = [other.name for other in alternatives(base)]
    assert names == [
        "gro on", "lro off", "rx-checksum on", "8 queues", "adaptive-rx off", "rx-usecs 50", "no deferral", "not threaded",
        "no busy poll", "no rps", "netif_rx",
    ]  # fmt: skip
    before_napi = [other.name for other in alternatives(replace(base, netif_rx=True))]
    assert before_napi == ["rx-checksum on", "8 queues", "adaptive-rx off", "rx-usecs 50", "no rps", "napi"]
    fixed = ReplayOptions(settings=replace(card, adaptive_rx=False))
    waits = next(other for other in alternatives(fixed) if other.name == "rx-usecs 0")
    assert (waits.options.settings.rx_usecs, waits.options.settings.rx_frames) == (0, 0)
    assert all(other.options != base for other in alternatives(base))


def test_compare_prints_a_row_a_switch(capture, call):
    status, out, _ = call("-r", capture, "--compare")
    assert status == 0
    table = out[out.index("one switch") :]
    assert max(map(len, out.splitlines())) <= 80
    assert "deferral: --gro-flush-timeout 50000 --napi-defer-hard-irqs 2" in table


def test_compare_refuses_what_can_be_read_once_only(call):
    status, out, err = call("-r", "-", "--compare")
    assert (status, out) == (1, "")
    assert "give -r a file" in err


# The page


def parsed(page):
    return ET.fromstring(page.removeprefix("<!DOCTYPE html>"))


def test_the_page_is_whole_and_needs_nothing_else(capture, tmp_path, call):
    source = tmp_path / "a<b>&'\".pcap"
    source.write_bytes(capture.read_bytes())
    target = tmp_path / "page.html"
    status, _, _ = call("-r", source, "--html", target, "--compare", "--speed", 40, "--ring", 64, "--cost", "stack=9000")
    assert status == 0
    page = target.read_text()
    tree = parsed(page)
    text = " ".join(" ".join(tree.itertext()).split())
    assert f"Replay of {source}" in text
    for word in ("Over time", "Queues", "Frames saved", "Host time", "What each switch is worth", "--receive netif_rx"):
        assert word in text, word
    for word in ("<script", "http:", "https:", "src=", "@import", "url(", "<link"):
        assert word not in page, word
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page
    drawings = list(tree.iter("svg"))
    assert len(drawings) > 20
    for box in (box for drawing in drawings for box in drawing.iter("rect")):
        assert float(box.get("x")) >= 0
        assert float(box.get("x")) + float(box.get("width")) <= 1000.01
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".")] == []


def test_the_page_without_a_frame_without_time():
    page = page_of(made(), ReplayOptions(), [], name="nothing", costs=cost_words(Costs()))
    assert "Replay of nothing" in page
    parsed(page)


def test_the_pictures():
    assert 'x="0.00" y="0" width="250.00"' in bar([Part(0.25, "taken"), Part(0.5, "dropped")])
    assert 'x="250.00" y="0" width="500.00"' in bar([Part(0.25, "taken"), Part(0.5, "dropped")])
    drawn = steps([0, 4, 4, 2], 4, "arrived")
    assert 'd="M0 100H0.00V100H250.00V0H750.00V50H1000V100Z"' in drawn
    assert "shadow" not in drawn
    assert "shadow" in steps([1], 4, "arrived", [2])


def test_a_page_that_cannot_be_written_is_said_before_the_run(capture, tmp_path, call):
    status, out, err = call("-r", capture, "--html", tmp_path / "none" / "x.html")
    assert (status, out) == (1, "")
    assert err.count("\n") == 1
    status, _, err = call("-r", capture, "--html", capture)
    assert status == 1
    assert "is the input" in err


def test_a_failed_run_leaves_no_page(tmp_path, call):
    (tmp_path / "no.pcap").write_bytes(b"no capture at all, this")
    assert call("-r", tmp_path / "no.pcap", "--html", tmp_path / "x.html")[0] == 1
    assert [one.name for one in tmp_path.iterdir()] == ["no.pcap"]


# Traffic


@pytest.mark.parametrize("text", ["80M,1500", "2.5G,200,burst=7,flows=3,frames=5000", "10M,60,udp,burst=2,frames=9,link=1G"])
def test_traffic_is_what_its_words_say(text):
    load = parse_traffic(text)
    load = replace(load, frames=min(load.frames, 5000))
    k = 0
    sequence: dict[int, int] = {}
    for batch in load.batches():
        count = int(batch.used[0])
        for i in range(0, count, 37):
            burst, place = divmod(k + i, load.burst)
            time = int(burst * load.burst * load.size * 8e9 / load.rate) + int(place * (load.size + 24) * 8e9 / load.link)
            assert abs(int(batch.timestamp[i]) - time) <= 1
            assert (int(batch.wire_len[i]), int(batch.protocol[i])) == (load.size, 17 if load.udp else 6)
        for value in batch.hash[:count]:
            sequence[int(value)] = sequence.get(int(value), 0) + 1
        assert (np.diff(batch.timestamp[:count]) >= 0).all()
        k += count
    assert k == load.frames
    assert len(sequence) == load.flows
    assert max(sequence.values()) - min(sequence.values()) <= load.burst


def test_a_burst_belongs_to_one_flow_and_merges(done_of):
    alone = done_of("--traffic", "80M,1500,burst=8,frames=400,flows=4", "-C", "rx-usecs=100")
    assert alone["stack_frames"] < 0.2 * alone["frames"]


def test_traffic_in_words():
    assert parse_traffic("80M,1500").words() == "80 Mbit/s of 1,500-byte TCP frames, one flow"
    assert parse_traffic("80M,1500,burst=16,flows=2,udp,link=1G").words() == (
        "80 Mbit/s of 1,500-byte UDP frames, 2 flows, bursts of 16 at 1 Gbit/s"
    )
    assert parse_traffic("1.5k,66") == Traffic(rate=1500, size=66)


# Words and sums


def test_times_and_shares():
    assert [span(value) for value in (0, 1e-9, 4.2e-6, 0.0125, 3, 4000)] == ["0 s", "1 ns", "4.2 µs", "12.5 ms", "3 s", "4,000 s"]
    assert [percent(value) for value in (0, 0.00004, 0.5, 1.25)] == ["0.0 %", "0.004 %", "50.0 %", "125.0 %"]


def test_polls_in_groups():
    assert poll_groups({1: 5, 3: 2, 64: 1}) == [
        ("1", 5),
        ("2-3", 2),
        ("4-7", 0),
        ("8-15", 0),
        ("16-31", 0),
        ("32-63", 0),
        ("64+", 1),
    ]
    assert poll_groups({0: 2, 2: 1}) == [("0", 2), ("1", 0), ("2-3", 1)]
    assert poll_groups({}) == []


def queue(frames=0, **changes):
    zeros = dict.fromkeys(QueueReport.__dataclass_fields__, 0)
    return QueueReport(**(zeros | {"frames": frames} | changes))


def cpu(**changes):
    zeros = dict.fromkeys(CpuReport.__dataclass_fields__, 0)
    return CpuReport(**(zeros | {"seconds": {}} | changes))


def made(**changes):
    """Return the report of a replay in which nothing happened, but for the changes."""
    zeros = dict.fromkeys(Replayed.__dataclass_fields__, 0)
    nothing = {
        "queues": [queue()], "cpus": [cpu()], "drops": dict.fromkeys(("ring", "no_buffer", "backlog"), 0), "reasons": {},
        "seconds_by_stage": dict.fromkeys(("irq", "poll", "driver", "offload", "stack", "steer", "spin", "lost"), 0.0),
        "wait_us": {"p50": 0.0, "p99": 0.0, "max": 0.0}, "poll_sizes": {}, "interval": 1e-6, "warnings": [], "lro": {},
        "timeline": {name: [0] for name in ("arrived", "dropped", "interrupt", "poll", "delivered")}, "damaged": False,
        "losses": {},
    }  # fmt: skip
    return Replayed(**(zeros | nothing | changes))


def test_balance():
    assert imbalance([queue(3), queue(1), queue(0), queue(0)]) == 3
    assert imbalance([queue()]) == 0


def test_notes_say_what_the_numbers_mean():
    options = ReplayOptions()
    told = made(frames=100, stack_segments=100, interrupts=95, queues=[queue(100), queue(), queue()])
    assert [note.split(":")[0] for note in findings(told, options)] == [
        "an interrupt a frame", "1 of 3 queues have frames, the fullest 3.0 times the mean",
    ]  # fmt: skip
    full = made(frames=9, drops={"ring": 4, "no_buffer": 0, "backlog": 0}, busiest_cpu=1.0, waiting=2)
    assert findings(full, options)[0].startswith("overload")
    assert "bursts are longer" in findings(replace(full, busiest_cpu=0.5), options)[0]
    assert "2 frames still in the rings" in findings(full, options)[1]
    before = replace(options, netif_rx=True)
    lost = made(seconds_by_stage=full.seconds_by_stage | {"lost": 1.0, "stack": 1.0})
    assert findings(lost, before)[0].startswith("livelock: 50.0 %")


def test_costs_are_read_as_they_are_written():
    costs = parse_costs(["irq=1,byte=0.125", "wake=7"])
    assert (costs.irq, costs.byte, costs.wake, costs.poll) == (1, 125, 7, Costs().poll)
    assert parse_costs([cost_words(costs)]) == costs
    assert parse_costs([], Costs(irq=9)) == Costs(irq=9)


def test_options_are_the_same_from_python(capture, done_of):
    done = replay_capture(str(capture), ReplayOptions(settings=NicSettings(queues=2), speed=Fraction(3, 2)))
    assert done_of("-r", capture, "--queues", 2, "--speed", "3/2")["interrupts"] == done.interrupts


# Bad input


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["-K", "gor", "on"], ["gor", "nearest: ", "gro"]),
        (["-K", "gro", "maybe"], ["gro", "on or off"]),
        (["-K", "rx-gro-hw", "on"], ["rx-gro-hw", "[fixed]"]),
        (["-C", "rx-usecs"], ["rx-usecs=N"]),
        (["-C", "rx-usecs=-1"], ["rx-usecs=-1", "4294967295"]),
        (["-C", "adaptive-rx=1"], ["adaptive-rx", "on or off"]),
        (["-C", "tx-usecs=1"], ["tx-usecs=1", "rx-frames=N"]),
        (["--queues", "0"], ["0 queues", "1 to 128"]),
        (["--queues", "many"], ["--queues", "many"]),
        (["--cpus", "257"], ["257", "1 to 256"]),
        (["--ring", "100"], ["100", "64 to 8192"]),
        (["--key", "6d"], ["6d", "40 or 52"]),
        (["--indirection", "0,9", "--queues", "4"], ["queue 9", "0 to 3"]),
        (["--fields", "tcp9=s"], ["tcp9", "tcp4"]),
        (["--cost", "irq=1.5"], ["irq=1.5", "whole nanoseconds"]),
        (["--cost", "coffee=1"], ["coffee=1", "irq, poll"]),
        (["--cost", "byte=0.0001"], ["byte=0.0001", "three digits"]),
        (["--speed", "0"], ["--speed 0", "0.001 to 1000000"]),
        (["--speed", "1/0"], ["1/0"]),
        (["--speed", "1.0000001"], ["six digits"]),
        (["--hz", "500"], ["500", "100, 250, 300, 1000"]),
        (["--budget", "0"], ["--budget 0"]),
        (["--weight", "1025"], ["1025", "1024"]),
        (["--max-backlog", "0"], ["--max-backlog 0"]),
        (["--busy-poll", "-1"], ["--busy-poll -1"]),
        (["--gro-flush-timeout", "-1"], ["--gro-flush-timeout -1"]),
        (["--napi-defer-hard-irqs", "4294967296"], ["2147483647"]),
        (["--receive", "magic"], ["magic"]),
        (["--html", "-"], ["--html -"]),
        (["tcp"], ["tcp", "--traffic"]),
        (["-r", "x.pcap"], ["one of them"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_is_one_line(flags, words, call):
    status, out, err = call("--traffic", "80M,1500,frames=9", *flags)
    assert (status, out) == (1, "")
    assert err.count("\n") == 1
    for word in words:
        assert word in err


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("80M", "a frame size"), ("80Q,1500", "is no rate"), ("1,1500", "1k to 400G"), ("401G,1500", "1k to 400G"),
        ("80M,65", "66 bytes"),
        ("80M,59,udp", "60 bytes"), ("80M,9015", "9014"), ("80M,x", "1 to 9014"), ("80M,1500,burst=0", "burst"),
        ("80M,1500,flows=50001", "50000"), ("80M,1500,frames=1e6", "frames"), ("80M,1500,magic", "magic"),
        ("80M,1500,burst=2,burst=3", "twice"), ("10G,1500,link=10G", "does not carry"),
    ],
)  # fmt: skip
def test_traffic_that_cannot_be(text, word):
    with pytest.raises(BadInput, match=re.escape(word)) as raised:
        parse_traffic(text)
    assert f"--traffic {text}" in str(raised.value)


def test_nothing_to_replay(call):
    status, _, err = call()
    assert status == 1
    assert "-r IN or --traffic" in err


# What the page about it says

PAGE = (Path(__file__).parent.parent / "docs" / "replay.md").read_text()
INTERRUPTS = re.findall(r"^\| [^|]+ \| `(--traffic[^`]+)` \| ([\d,]+) \| (\S+) \|$", PAGE, re.MULTILINE)
OVERLOAD = re.findall(r"^\| (\d+G) \| [\d,]+ \| (.*) \|$", PAGE, re.MULTILINE)
COMPILED = pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="a million frames, interpreted, take an hour")


def test_the_documented_figures_are_found():
    assert (len(INTERRUPTS), len(OVERLOAD)) == (PAGE.count("| `--traffic"), PAGE.count("/s |\n"))
    assert min(len(INTERRUPTS), len(OVERLOAD)) > 5


@COMPILED
@pytest.mark.parametrize(("flags", "interrupts", "per_poll"), INTERRUPTS)
def test_the_documented_interrupts(flags, interrupts, per_poll, done_of):
    done = done_of(*flags.split())
    assert f"{done['interrupts'] / done['seconds']:,.0f}" == interrupts
    assert (f"{done['frames_per_poll']:.2f}" if done["polls"] else "-") == per_poll


@COMPILED
@pytest.mark.parametrize(("load", "cells"), OVERLOAD)
def test_the_documented_overload(load, cells, done_of):
    command = re.search(r"^`pktpath replay (--traffic LOAD.*)`$", PAGE, re.MULTILINE)[1].replace("LOAD", load)
    before, now = (done_of(*command.replace("HOW", how).split()) for how in ("netif_rx", "napi"))
    lost = before["seconds_by_stage"]["lost"] / before["seconds"]
    told = [float(cell.strip("/s %").replace(",", "")) for cell in cells.split(" | ")]
    # Rounded to what a reader wants to know.
    assert told[0] == pytest.approx(before["stack_segments"] / before["seconds"], rel=0.01)
    assert told[1] == pytest.approx(lost * 100, abs=1)
    assert told[2] == pytest.approx(now["stack_segments"] / now["seconds"], rel=0.01)


def test_the_documented_costs_are_the_defaults():
    rows = dict(re.findall(r"^\| (\w+) \| ([\d.]+) \| an? ", PAGE, re.MULTILINE))
    assert parse_costs([",".join(f"{name}={value}" for name, value in rows.items())]) == Costs()
    assert set(rows) == set(Costs._fields)
