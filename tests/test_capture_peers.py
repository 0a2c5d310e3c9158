"""Other programs read what we write, and we read what they write."""

import io
import random
import shutil
import subprocess

import pytest

from pktpath.batch import Batch
from pktpath.port.capture import create_capture, open_capture
from support import naive_capture as naive
from support.captures import contents_of

pytestmark = pytest.mark.peer


def program(name):
    if not shutil.which(name):
        pytest.skip(f"{name} is not installed")

    def run(*arguments):
        result = subprocess.run([name, *map(str, arguments)], capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        return result.stdout

    return run


def copy(source, target, **options):
    with open_capture(source, **options) as reader, create_capture(target, like=reader) as writer:
        for item in reader.items():
            (writer.write if isinstance(item, Batch) else writer.write_block)(item)
    assert (reader.warnings, [line for line in writer.warnings if "no place" not in line]) == ([], [])
    return target


@pytest.fixture
def original(tmp_path):
    rng = random.Random(3)
    ip = "4500002e00010000401166bc0a0000010a00000200350035001a0000"
    frames = [
        naive.Frame(
            bytes(12) + b"\x08\x00" + bytes.fromhex(ip) + rng.randbytes(rng.choice((18, 18, 19, 700))),
            0,
            1_700_000_000_000_000 + k * 1001,
        )
        for k in range(300)
    ]
    for frame in frames:
        frame.wire_len = len(frame.data) + rng.choice((0, 0, 11))
    path = tmp_path / "original.pcap"
    path.write_bytes(naive.pcap_file(frames))
    return path


def listed(path):
    """What tshark says about each frame, and its bytes."""
    tshark = program("tshark")
    fields = ["frame.number", "frame.time_epoch", "frame.len", "frame.cap_len", "frame.interface_id", "frame.comment", "eth.src"]
    return tshark("-r", path, "-T", "fields", *(word for name in fields for word in ("-e", name))), tshark("-r", path, "-x")


def same(a, b):
    """Frames with everything but the number of ticks in a second."""
    first, second = contents_of(a)[0].frames, contents_of(b)[0].frames
    assert [(f.data, f.wire_len, f.nanoseconds, f.options) for f in first] == [
        (f.data, f.wire_len, f.nanoseconds, f.options) for f in second
    ]
    return len(first)


@pytest.mark.parametrize("form", ["pcap", "nsecpcap", "pcapng"])
def test_editcap_files_are_read_and_copied_to_the_byte(original, tmp_path, form):
    theirs = tmp_path / f"theirs.{form[-6:]}"
    program("editcap")("-F", form, original, theirs)
    theirs = theirs.rename(tmp_path / ("theirs.pcapng" if form == "pcapng" else "theirs.pcap"))
    assert same(original, theirs) == 300
    ours = copy(theirs, tmp_path / f"ours{theirs.suffix}")
    assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("suffix", [".pcap", ".pcapng"])
def test_tshark_and_capinfos_read_what_we_write(original, tmp_path, suffix):
    ours = copy(original, tmp_path / f"ours{suffix}")
    theirs = tmp_path / f"theirs{suffix}"
    program("editcap")("-F", suffix[1:], original, theirs)
    assert listed(ours) == listed(theirs)
    report = program("capinfos")("-c", "-M", ours)
    assert "Number of packets:   300" in report
    assert "cut short" not in report


def test_comments_are_kept(original, tmp_path):
    theirs = tmp_path / "theirs.pcapng"
    program("editcap")("-F", "pcapng", "-a", "2:the second", "-a", "300:the last", original, theirs)
    ours = copy(theirs, tmp_path / "ours.pcapng", batch_size=7)
    assert ours.read_bytes() == theirs.read_bytes()
    comments = program("tshark")("-r", ours, "-Y", "frame.comment", "-T", "fields", "-e", "frame.number", "-e", "frame.comment")
    assert comments == "2\tthe second\n300\tthe last\n"
    assert contents_of(ours)[0].frames[1].options == naive.option(1, b"the second")


def test_several_interfaces(original, tmp_path):
    other = tmp_path / "other.pcap"
    other.write_bytes(
        naive.pcap_file(
            [naive.Frame(bytes(20), 20, 1_700_000_000_100_000_007 + k, 0) for k in range(50)], nanoseconds=True, linktype=113
        )
    )
    theirs = tmp_path / "theirs.pcapng"
    program("mergecap")("-I", "none", "-w", theirs, original, other)
    ours = copy(theirs, tmp_path / "ours.pcapng", batch_size=10)
    assert ours.read_bytes() == theirs.read_bytes()
    found, _ = contents_of(theirs)
    assert {f.port for f in found.frames} == {0, 1}
    with open_capture(theirs) as reader:
        list(reader)
        assert [i.linktype for i in reader.interfaces] == [1, 113]
    alone = tmp_path / "alone.pcapng"
    with open_capture(theirs) as reader, create_capture(alone, like=reader) as writer:
        for batch in reader:
            writer.write(batch)
    assert same(alone, theirs) == 350
    assert listed(alone) == listed(theirs)


def test_big_endian_sections_and_large_blocks_are_read_by_tshark(tmp_path):
    note = naive.option(1, b"in order", ">") + naive.option(19373, b"\0\0\x7e\xd9" + bytes(65531), ">")
    data = naive.section(">") + naive.interface(">", resolution=9, name="wan")
    data += naive.packet(naive.Frame(bytes(60), 60, 1_700_000_000_000_000_007), ">", raw_options=note)
    ours = tmp_path / "ours.pcapng"
    with open_capture(io.BytesIO(data)) as reader, create_capture(ours, like=reader) as writer:
        for batch in reader:
            writer.write(batch)
    shown = program("tshark")(
        "-r", ours, "-T", "fields", "-e", "frame.comment", "-e", "frame.time_epoch", "-e", "frame.interface_name"
    )
    assert shown == "in order\t1700000000.000000007\twan\n"


def test_tcpdump_reads_our_stream(original):
    tcpdump = program("tcpdump")
    assert len(tcpdump("-n", "-r", original).splitlines()) == 300


def test_scapy_reads_the_same_frames(original, tmp_path):
    utils = pytest.importorskip("scapy.utils")
    for suffix in (".pcap", ".pcapng"):
        ours = copy(original, tmp_path / f"ours{suffix}")
        with utils.RawPcapReader(str(ours)) as reader:
            theirs = [data for data, _ in reader]
        assert theirs == [f.data for f in contents_of(original)[0].frames]
