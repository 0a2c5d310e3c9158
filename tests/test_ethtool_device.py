"""pktpath ethtool beside the real one, on devices that the test makes up: every form of text, every word."""

import copy
import json
import random
import shutil
import sys
from pathlib import Path

import pytest

from support.fake_device import Device, fake_missing, run_on

pytestmark = pytest.mark.peer
CASES = sorted((Path(__file__).parent / "cases" / "ethtool").glob("*.txt"))
OURS = (sys.executable, "-m", "pktpath", "ethtool")
STATE = ("channels", "rings", "coalesce", "table", "key", "function", "hash_fields")
KEY = ":".join(f"{255 - k:02x}" for k in range(40))
EPERM, EINVAL = 1, 22


@pytest.fixture(autouse=True)
def judge():
    if missing := fake_missing():
        pytest.skip(missing)
    if shutil.which("ethtool") is None:
        pytest.skip("ethtool is missing (run .ci/run as root, or: apt-get install ethtool)")


def device(**changes) -> Device:
    return Device(
        **{
            "channels": {5: 63, 9: 8, 4: 1, 8: 1},
            "rings": {2: 4096, 5: 4096, 6: 512, 9: 1024, 10: 2048, 11: 2, 12: 64, 13: 1},
            "coalesce": {2: 50, 3: 32, 6: 7, 7: 8, 11: 0, 12: 0, 24: 0, 25: 1, 15: 4, 13: 100},
            "queues": 8,
            "table": [k % 8 for k in range(20)],
            "key": bytes(range(40)),
            "function": 1,
            "statistics": {"rx_packets": 12345, "tx_bytes": 2**64 - 1, "rx errors": 0},
            "driver": ("nic", "6.1", "0x800 1.2", "0000:01:00.0", ""),
            "driver_counts": (2, 3, 4, 5, 6),
            "hash_fields": {1: 0x30, 2: 0xF0, 6: 0x80000000},
            **copy.deepcopy(changes),
        }
    )


def both(words: str, **changes):
    """Run the real ethtool and ours on two devices of the same kind; return ours and the real one's answer."""
    real, own = device(**changes), device(**changes)
    theirs = run_on(real, "ethtool", *words.split())
    ours = run_on(own, *OURS, *words.split())
    assert ours.stderr.count("\n") == (0 if ours.returncode == 0 else 1), ours.stderr
    assert ours.stdout == theirs.stdout
    for part in STATE:
        assert getattr(own, part) == getattr(real, part)
    if theirs.returncode == 0:
        assert own.requests == real.requests
    return ours, theirs


def read_case(path: Path) -> tuple[str, Device, str]:
    head, _, text = path.read_text().partition("\n\n")
    option, *fields = head.splitlines()
    values = {}
    for line in fields:
        name, _, value = line.partition(" ")
        value = json.loads(value)
        if name == "key":
            value = bytes.fromhex(value.replace(":", ""))
        elif name in ("channels", "rings", "coalesce"):
            value = {int(kind): number for kind, number in value.items()}
        elif name in ("functions", "driver", "driver_counts"):
            value = tuple(value)
        values[name] = value
    return option.split()[1], Device(**values), text


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_text_is_that_of_the_case_and_of_ethtool(path):
    option, made_up, text = read_case(path)
    for program in (("ethtool",), OURS):
        done = run_on(made_up, *program, option, made_up.name)
        assert (done.returncode, done.stderr, done.stdout) == (0, "", text)


@pytest.mark.parametrize("option", ["-l", "-x", "-c", "-g", "-S", "-i"])
def test_what_is_not_supported_is_refused_in_one_line(option):
    done, theirs = both(f"{option} fake0", channels=None, rings=None, coalesce=None, queues=None, statistics=None, driver=None)
    assert theirs.returncode != 0
    assert done.returncode == 2
    assert done.stderr.startswith("pktpath: fake0: ")
    done, theirs = both(f"{option} absent0")
    assert theirs.returncode != 0
    assert (done.returncode, done.stderr) == (1, "pktpath: no device is named 'absent0'\n")


@pytest.mark.parametrize(
    "words",
    [
        "-L fake0 combined 4",
        "-L fake0 combined 010 other +1",
        "--set-channels fake0 combined 0x10",
        "-L fake0",
        "-C fake0 adaptive-rx on rx-usecs 70 rx-frames-low 9",
        "-C fake0 cqe-mode-rx off cqe-mode-tx on pkt-rate-low 5",
        "--coalesce fake0 tx-frames 4294967295",
        "-G fake0 tx-push off rx 0x100 tx 64",
        "--set-ring fake0 rx-buf-len 4096 cqe-size 128",
        "-X fake0 equal 3",
        "-X fake0 equal 010",
        "-X fake0 equal 0x2 equal 3",
        "--rxfh fake0 equal 2 start 3",
        "--set-rxfh-indir fake0 weight 3 1",
        "-X fake0 weight 0 1 0 1",
        "-X fake0 weight 1 1 start 6",
        "-X fake0 default",
        f"-X fake0 hkey {KEY}",
        f"-X fake0 hkey {KEY.upper()}: weight 1 2 3 hfunc crc32",
        "-X fake0 hfunc xor",
        "-n fake0 rx-flow-hash tcp4",
        "-n fake0 rx-flow-hash udp4",
        "-n fake0 rx-flow-hash udp6",
        "-N fake0 rx-flow-hash tcp4 sdfn",
        "-N fake0 rx-flow-hash tcp4 mvtsdfnr",
        "-U fake0 rx-flow-hash udp6 m",
        "-I -l fake0",
        "--show-rxfh-indir fake0",
    ],
)
def test_a_change_is_ethtools_own(words):
    done, theirs = both(words)
    assert (done.returncode, theirs.returncode) == (0, 0)


@pytest.mark.parametrize("flow", ["tcp4", "udp4", "ah4", "esp4", "sctp4", "tcp6", "udp6", "ah6", "esp6", "sctp6"])
def test_each_flow_type_has_ethtools_number_and_name(flow):
    done, _ = both(f"-n fake0 rx-flow-hash {flow}", hash_fields={k: k << 1 for k in range(1, 20)})
    assert done.returncode == 0


def test_weights_fill_the_table_as_ethtool_does():
    rng = random.Random(5)
    for size in (1, 7, 64, 100, 128):
        weights = [rng.randrange(4) for _ in range(rng.randrange(1, 9))]
        weights[0] += sum(weights) == 0
        if sum(weights) <= size:
            both(f"-X fake0 weight {' '.join(map(str, weights))}", table=[0] * size)


def test_an_older_driver_takes_the_table_alone():
    done, _ = both("-X fake0 weight 1 2", rss=False)
    assert done.returncode == 0
    done, _ = both("-X fake0 default", rss=False)
    assert done.returncode == 0
    done, theirs = both("-X fake0 hfunc xor", rss=False)
    assert (done.returncode, theirs.returncode) == (2, 1)
    assert "only the indirection table" in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("-L fake0 combined", "combined needs a value"),
        ("-L fake0 combined 4x", "not '4x'"),
        ("-L fake0 combined 4294967296", "from 0 to 4294967295"),
        ("-L fake0 combined 4 combined 4", "given twice"),
        ("-L fake0 queues 4", "known are rx, tx, other, combined"),
        ("-C fake0 adaptive-rx 1", "on or off, not '1'"),
        ("-C fake0 rx-frame-low 7", "no parameter 'rx-frame-low'"),
        ("-G fake0 tcp-data-split on", "no parameter 'tcp-data-split'"),
        ("-X fake0 equal 0", "at least one ring"),
        ("-X fake0 equal 2x", "not '2x'"),
        ("-X fake0 equal 4294967297", "from 0 to 4294967295"),
        ("-X fake0 weight 0 0", "not all 0"),
        ("-X fake0 weight 30 1", "the sum is 31, the indirection table has 20"),
        ("-X fake0 weight x", "a number for each ring"),
        ("-X fake0 start 3", "goes with equal or weight"),
        ("-X fake0 equal 2 weight 1 1", "equal and weight exclude"),
        ("-X fake0 equal 2 default", "equal and default exclude"),
        ("-X fake0 weight 1 default", "weight and default exclude"),
        ("-X fake0 start 1 default", "start and default exclude"),
        ("-X fake0 hkey aa:bb", "has 2 bytes; this device's has 40"),
        (f"-X fake0 hkey {KEY}:00", "has 41 bytes"),
        ("-X fake0 hkey 1:2", "two hexadecimal digits"),
        ("-X fake0 hfunc md5", "there are toeplitz, xor, crc32"),
        ("-X fake0 hfunc", "hfunc needs a value"),
        ("-n fake0 rx-flow-hash tcp9", "no flow type 'tcp9'"),
        ("-N fake0 rx-flow-hash tcp4 xyz", "letters of mvtsdfnr"),
    ],
)
def test_wrong_words_change_nothing(words, says):
    done, theirs = both(words)
    assert theirs.returncode != 0
    assert done.returncode == 1
    assert says in done.stderr


@pytest.mark.parametrize(
    ("words", "changes", "says"),
    [
        ("-L fake0 combined 4", {"refuse": {"channels": (EPERM, "")}}, "CAP_NET_ADMIN"),
        ("-X fake0 equal 2", {"refuse": {"rss": (EPERM, "")}}, "CAP_NET_ADMIN"),
        ("-L fake0 combined 70 rx 2", {"refuse": {"channels": (EINVAL, "")}}, "combined 70 is above the maximum of 63; rx"),
        ("-L fake0 combined 3", {"refuse": {"channels": (EINVAL, "not now")}}, "the kernel refused: not now"),
        ("-G fake0 rx 5000", {"refuse": {"rings": (EINVAL, "too big")}}, "rx 5000 is above the maximum of 4096"),
        ("-G fake0 rx 50", {"refuse": {"rings": (EINVAL, "")}}, "the kernel refused: Invalid argument"),
        ("-C fake0 tx-usecs-irq 5", {}, "tx-usecs-irq cannot be set on this device, which has rx-usecs, rx-frames,"),
        ("-X fake0 equal 9", {}, "names ring 8, and the device has rings 0 to 7"),
        ("-X fake0 weight 1 1 start 7", {}, "names ring 8"),
        ("-X fake0 equal 2", {"refuse": {"rss": (EINVAL, "")}}, "the kernel refused: Invalid argument"),
        (f"-X fake0 hkey {KEY}", {"key": b""}, "the hash key cannot be set"),
        ("-X fake0 equal 2", {"table": None}, "not supported"),
        ("-n fake0 rx-flow-hash ah4", {}, "hash fields of ah4 is not supported"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_value_and_what_is_allowed(words, changes, says):
    done, theirs = both(words, **changes)
    assert theirs.returncode != 0
    assert done.returncode == 2
    assert says in done.stderr


def test_a_value_that_is_taken_in_part_is_named():
    done, theirs = both("-C fake0 tx-usecs 70 tx-frames 5000", most={7: 64})
    assert (done.returncode, theirs.returncode) == (2, 0)
    assert done.stderr == "pktpath: fake0: the device did not take every value: tx-frames is 64, not 5000\n"


def test_what_an_adaptive_card_changes_itself_is_no_refusal():
    done, _ = both("-C fake0 adaptive-rx on rx-frames 5000", most={3: 64})
    assert done.returncode == 0


@pytest.mark.parametrize("words", ["-l fake0", "-L fake0 combined 2", "--json -c fake0"])
def test_an_old_kernel_is_named(words):
    done = run_on(device(netlink=False), *OURS, *words.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert "needs ethtool over netlink, which Linux has from 5.7 on" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "row"),
    [
        ("-l", {"other-max": 1, "combined-max": 63, "other": 1, "combined": 8}),
        ("-g", {"rx-max": 4096, "tx-max": 4096, "rx": 512, "tx": 1024, "rx-buf-len": 2048, "tcp-data-split": "on",
                "cqe-size": 64, "tx-push": True}),
        ("-c", {"rx-usecs": 50, "rx-frames": 32, "tx-usecs": 7, "tx-frames": 8, "adaptive-rx": False, "adaptive-tx": False,
                "pkt-rate-low": 100, "rx-frames-low": 4, "cqe-mode-tx": False, "cqe-mode-rx": True}),
        ("-x", {"rx-rings": 8, "rss-indirection-table": [k % 8 for k in range(20)], "rss-hash-key": list(range(40)),
                "rss-hash-function": "toeplitz"}),
        ("-S", {"statistics": {"rx_packets": 12345, "tx_bytes": 2**64 - 1, "rx errors": 0}}),
        ("-i", {"driver": "nic", "version": "6.1", "firmware-version": "0x800 1.2", "expansion-rom-version": "",
                "bus-info": "0000:01:00.0", "supports-statistics": True, "supports-test": True,
                "supports-eeprom-access": True, "supports-register-dump": True, "supports-priv-flags": True}),
        ("-n", {"flow-type": "tcp4", "rx-flow-hash": "sd"}),
    ],
)  # fmt: skip
def test_json_says_the_same(option, row):
    more = ["rx-flow-hash", "tcp4"] if option == "-n" else []
    done = run_on(device(), *OURS, "--json", option, "fake0", *more)
    assert json.loads(done.stdout) == [{"ifname": "fake0", **row}]


def test_pktpaths_own_card_reads_as_a_device_of_its_kind(tmp_path):
    default = [k % 8 for k in range(128)]
    real = Device(
        name="my.nic", channels={5: 128, 9: 8}, rings={2: 8192, 6: 1024}, coalesce={2: 0, 3: 0, 11: 0}, queues=8, table=default,
        key=bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa"), function=1,
        hash_fields={1: 0xF0, 2: 0xF0, 3: 0x30, 5: 0xF0, 6: 0xF0, 7: 0x30},
    )  # fmt: skip
    assert run_on(real, *OURS, "--create", "my.nic", cwd=tmp_path).returncode == 0
    shown = ["-l my.nic", "-x my.nic", "-c my.nic", "-g my.nic", "-n my.nic rx-flow-hash tcp6", "-n my.nic rx-flow-hash sctp4"]
    for change in (
        "-L my.nic combined 6", "-X my.nic weight 5 1 2", f"-X my.nic hkey {KEY} equal 4 start 1", "-G my.nic rx 256",
        "-C my.nic adaptive-rx on rx-usecs 50 rx-frames 9", "-N my.nic rx-flow-hash tcp6 sd",
        "-X my.nic hfunc toeplitz", "-X my.nic default",
    ):  # fmt: skip
        if change.startswith("-L"):
            real.queues, real.table = 6, [k % 6 for k in range(128)]
        for words in (change, *shown):
            theirs, ours = run_on(real, "ethtool", *words.split()), run_on(real, *OURS, *words.split(), cwd=tmp_path)
            assert (ours.returncode, ours.stdout, ours.stderr) == (theirs.returncode, theirs.stdout, theirs.stderr), words
