"""`pktpath doctor` end to end: what it reads, where it writes, how it ends."""

import json
import os
import pty
import subprocess
import sys
import types
from pathlib import Path

import pytest

from pktpath.cli import common, pktpath
from pktpath.doctor.case import Case, Missing
from pktpath.errors import BadInput, Refused
from support.doctor import EVIDENCE
from support.doctor_report import facts

HEALTHY = """\
$ ethtool -k eth0
Features for eth0:
rx-checksumming: on
tx-checksumming: on
\ttx-checksum-ipv4: off [fixed]
\ttx-checksum-ip-generic: on
\ttx-checksum-ipv6: off [fixed]
scatter-gather: on
\ttx-scatter-gather: on
tcp-segmentation-offload: on
\ttx-tcp-segmentation: on
\ttx-tcp6-segmentation: on
generic-segmentation-offload: on
generic-receive-offload: on
large-receive-offload: off [fixed]
"""
SICK = EVIDENCE / "veth-features" / "tx-off.txt"
RULE = "tso-off-for-want-of-checksum"


def call(*arguments, **options):
    line = [sys.executable, "-m", "pktpath", "doctor", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False, **options)


@pytest.fixture
def healthy(tmp_path):
    path = tmp_path / "healthy.txt"
    path.write_text(HEALTHY)
    return path


def test_findings_above_a_note_are_status_1():
    done = call(SICK)
    assert (done.returncode, done.stderr) == (1, "")
    assert "WARNING  e1 does no TCP segmentation offload" in done.stdout
    assert "\x1b" not in done.stdout


def test_nothing_above_a_note_is_status_0(healthy):
    done = call(healthy)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("No problems, no warnings, ")
    assert "✓ No device cuts TCP in software" in done.stdout


@pytest.mark.parametrize(
    "content", [b"", b"\0\1\2binary", b"a letter, and nothing that a command printed\n"], ids=["empty", "binary", "prose"]
)
def test_nothing_to_look_at_is_status_2_and_is_said(tmp_path, content):
    path = tmp_path / "x.txt"
    path.write_bytes(content)
    with path.open("rb") as file:
        for_stdin = call("-", stdin=file)
    for done in (call(path), for_stdin):
        assert (done.returncode, done.stderr) == (2, "")
        assert done.stdout.startswith("Nothing could be looked at.\n\nCould not look at\n  - ")
    document = json.loads(call(path, "--json").stdout)
    assert document["findings"] == []
    assert str(path) in document["missing"][0]["what"]


def test_standard_input_is_a_document(healthy):
    assert call("-", input=HEALTHY).stdout == call(healthy).stdout.replace(str(healthy), "standard input")
    done = call("-", input=SICK.read_text())
    assert done.returncode == 1
    assert "standard input:15: tx-checksum-ip-generic: off" in done.stdout


def test_json_is_parseable_and_says_the_same(healthy):
    done = call(SICK, "--json")
    document = json.loads(done.stdout)
    assert done.returncode == 1
    found = next(each for each in document["findings"] if each["rule"] == RULE)
    assert found["evidence"][0]["line"] == 15
    assert found["remedies"][0]["command"].startswith("ethtool -K e1 tx on")
    assert RULE in [each["rule"] for each in json.loads(call(healthy, "--json").stdout)["well"]]


def test_folders_files_and_sosreports_are_read_together(tmp_path, healthy):
    folder = tmp_path / "sos_commands" / "networking"
    folder.mkdir(parents=True)
    (folder / "ethtool_-k_eth7").write_text(HEALTHY.partition("\n")[2].replace("eth0", "eth7"))
    archive = tmp_path / "sos.tar.xz"
    subprocess.run(["tar", "-C", tmp_path, "-cJf", archive, "sos_commands"], check=True)
    for arguments in ([folder], ["--sos", archive], ["--sos", tmp_path / "sos_commands"], [healthy, "--sos", archive]):
        done = call(*arguments)
        assert (done.returncode, done.stderr) == (0, ""), arguments


def test_html_is_written_whole_beside_and_renamed(tmp_path):
    page = tmp_path / "report.html"
    done = call(SICK, "--html", page)
    assert done.returncode == 1
    assert "WARNING" in done.stdout
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert "tx-off.txt" in page.read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert page.stat().st_mode & 0o777 == 0o666 & ~_umask()
    page.chmod(0o600)
    call(SICK, "--html", page)
    assert page.stat().st_mode & 0o777 == 0o600
    assert call(SICK, "--html", "/dev/null").returncode == 1


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_page_that_cannot_be_written_is_one_line(tmp_path):
    for target in (tmp_path / "no" / "x.html", tmp_path, "-"):
        done = call(SICK, "--html", target)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), target
    assert list(tmp_path.iterdir()) == []


def test_redaction_holds_for_all_that_is_written(tmp_path):
    folder = tmp_path / "home" / "node7"
    folder.mkdir(parents=True)
    (folder / "node7.txt").write_text(
        f"bob@node7:~$ ethtool -k e1\n{SICK.read_text()}\n" + HEALTHY.replace("$ eth", "bob@node7:~$ eth")
    )
    page = tmp_path / "x.html"
    for arguments in ([], ["--json"], ["--all"]):
        done = call(folder, "--redact", "--html", page, *arguments)
        assert done.returncode == 1
        assert "e1 does no TCP" in done.stdout
        for told in (done.stdout, page.read_text()):
            assert "bob" not in told


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["no-such-file"], "pktpath: no-such-file: no such file\n"),
        ([SICK, "--pid", "1"], "--pid is for the running host"),
        (["--sos", SICK, "--dev", "eth0"], "--dev is for the running host"),
        ([SICK, "--intrusive"], "--intrusive is for the running host"),
        (["--pid", "1", "--process", "init"], "--pid and --process both name the process"),
        (["--pid", "0"], "0 is not in the range"),
        (["--seconds", "nan"], "--seconds"),
        ([SICK, "--html", SICK], "is the input"),
        (["--nothing"], "no such option"),
    ],
)
def test_wrong_usage_is_one_line_and_status_1(arguments, line):
    done = call(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert line in done.stderr.replace("No such", "no such")
    assert done.stderr.count("\n") == 1


def test_a_reader_that_goes_away_is_no_error():
    line = [sys.executable, "-m", "pktpath", "doctor", str(SICK)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1


def on_a_terminal(*arguments, columns: int, **environment) -> str:
    """Run on a terminal of so many columns and return what it got."""
    import fcntl
    import struct
    import termios

    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    given = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "COLUMNS", "FORCE_COLOR"}}
    line = [sys.executable, "-m", "pktpath", "doctor", *map(str, arguments)]
    process = subprocess.Popen(line, stdout=follower, stderr=follower, env=given | {"TERM": "xterm-256color"} | environment)
    os.close(follower)
    parts = []
    while True:
        try:
            part = os.read(leader, 1 << 16)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        parts.append(part)
    os.close(leader)
    process.wait()
    return b"".join(parts).decode().replace("\r\n", "\n")


def test_terminals_get_colour_unless_they_say_no():
    assert "\x1b[1;33mWARNING" in on_a_terminal(SICK, columns=80)
    plain = on_a_terminal(SICK, columns=80, NO_COLOR="1")
    assert "WARNING" in plain
    assert "\x1b[1;33m" not in plain
    assert "\x1b[3" not in plain
    assert "\x1b" not in on_a_terminal(SICK, columns=80, TERM="dumb")


@pytest.mark.parametrize("columns", [80, 120])
def test_terminals_get_lines_as_wide_as_they_are(columns):
    told = on_a_terminal(SICK, columns=columns, NO_COLOR="1")
    prose = [line for line in told.splitlines() if "ethtool -K" not in line and "nmcli" not in line and "\x1b" not in line]
    assert 60 < max(map(len, prose)) <= columns


# The running host


@pytest.fixture
def collect(monkeypatch):
    """Put a collector in place of the real one, which tests of its own judge."""
    asked = {}

    def plan(**wishes):
        asked["plan"] = wishes
        return ["reads counters twice, 2 s apart", "reads 3 processes"]

    def look(*, progress, save, **wishes):
        asked["look"] = wishes
        asked["save"] = save
        progress("counters")
        if "error" in asked:
            raise asked["error"]
        return asked.get("case") or Case(facts(), [Missing("strace", "is not installed")], live=True)

    module = types.ModuleType("pktpath.doctor.collect")
    module.plan, module.look = plan, look
    monkeypatch.setitem(sys.modules, "pktpath.doctor.collect", module)
    return asked


def run(*arguments) -> int:
    return common.run(pktpath, ["doctor", *map(str, arguments)])


def test_what_will_be_done_is_said_before(collect, capsys):
    status = run("--pid", 7, "--dev", "eth0", "--dev", "eth1", "--seconds", 3, "--intrusive", "--save", "kept")
    out, err = capsys.readouterr()
    assert err == "reads counters twice, 2 s apart\nreads 3 processes\n"
    assert collect["look"] == collect["plan"]
    assert collect["look"] == {"pid": 7, "process": None, "devices": ("eth0", "eth1"), "seconds": 3.0, "intrusive": True}
    assert collect["save"] == Path("kept")
    assert "eth1 does no TCP segmentation" in out
    assert "strace: is not installed" in out
    assert status == 1


def test_the_host_is_looked_at_without_arguments(collect, capsys):
    run("--json")
    document = json.loads(capsys.readouterr().out)
    assert document["live"]
    assert collect["look"] == {"pid": None, "process": None, "devices": (), "seconds": 2.0, "intrusive": False}
    assert collect["save"] is None


def test_a_host_that_shows_nothing_is_status_2(collect, capsys):
    collect["case"] = Case([], [Missing("the host", "forbidden")], live=True)
    assert run() == 2
    assert "the host: forbidden" in capsys.readouterr().out


def test_a_host_that_refuses_is_one_line_and_status_2(collect, capsys):
    collect["error"] = Refused("nothing could be looked at: /proc: forbidden")
    assert run() == 2
    out, err = capsys.readouterr()
    assert (out, err.splitlines()[-1]) == ("", "pktpath: nothing could be looked at: /proc: forbidden")


def test_redaction_knows_the_running_host(collect, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("SUDO_USER", "alice")
    collect["case"] = Case(facts(), [Missing(f"files of alice on {os.uname().nodename}", "forbidden")], live=True)
    run("--redact", "--html", tmp_path / "x.html")
    for told in (capsys.readouterr().out, (tmp_path / "x.html").read_text()):
        assert "files of user-1 on host-1: forbidden" in told
        assert "alice" not in told


# Explanations


@pytest.fixture
def texts(monkeypatch):
    """Put two topics in place of the real ones."""
    module = types.ModuleType("pktpath.doctor.explain")
    known = {"tso": "A card that cuts.", "napi": "Polling."}
    module.topics = lambda: list(known.items())

    def explain(name):
        if name not in known:
            message = f"there is no topic {name!r}; near are tso"
            raise BadInput(message)
        return f"{name.upper()}\n\n{known[name]}"

    module.explain = explain
    module.findings = lambda: [("some-finding", "It is so.")]
    module.SECTIONS = ("What it is",)
    monkeypatch.setitem(sys.modules, "pktpath.doctor.explain", module)
    import pktpath.doctor

    monkeypatch.setattr(pktpath.doctor, "explain", module, raising=False)


def test_topics_are_listed_and_explained(texts, capsys):
    assert run("explain") == 0
    assert capsys.readouterr().out == "Topics\n  tso   A card that cuts.\n  napi  Polling.\nFindings\n  some-finding  It is so.\n"
    assert run("explain", "tso") == 0
    assert capsys.readouterr().out == "TSO\n\nA card that cuts.\n"
    assert run("explain", "vxlan", "offload") == 1
    assert capsys.readouterr().err == "pktpath: there is no topic 'vxlan offload'; near are tso\n"


def test_explain_has_a_help_of_its_own_and_a_file_of_this_name_a_path(tmp_path):
    done = call("explain", "--help")
    assert done.returncode == 0
    assert "Usage: pktpath doctor explain [OPTIONS] [TOPIC]" in done.stdout
    (tmp_path / "explain").write_text(HEALTHY)
    assert call("./explain", cwd=tmp_path).returncode == 0
    done = call("explain", "--nothing")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def test_the_shell_completes_topics_processes_and_devices(texts, capsys, monkeypatch):
    def completed(line: str) -> list[str]:
        monkeypatch.setenv("_PKTPATH_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
        common.run(pktpath, [])
        return [row.partition(",")[2] for row in capsys.readouterr().out.splitlines()]

    assert completed("pktpath doctor explain n") == ["napi"]
    assert "explain" in completed("pktpath doctor ex")
    assert "lo" in completed("pktpath doctor --dev l")
    mine = Path("/proc/self/comm").read_text().strip()
    assert mine in completed(f"pktpath doctor --process {mine[:3]}")


# How it starts


def test_help_is_complete():
    told = call("--help").stdout
    for name in (
        "--pid",
        "--process",
        "--dev",
        "--sos",
        "--seconds",
        "--intrusive",
        "--save",
        "--json",
        "--html",
        "--redact",
        "--all",
    ):
        assert f" {name}" in told
    assert "explain [TOPIC]" in told
    assert "Exit status: 0" in told


def test_nothing_heavy_is_imported_for_help_and_nothing_of_numba_for_anything():
    code = "import sys\nfrom pktpath.cli import main\ntry: main(sys.argv[1:])\nexcept SystemExit: pass\n"
    code += "sys.stderr.write(' '.join(sys.modules))"
    for arguments, heavy in (
        (["--help"], {"numba", "numpy", "jinja2", "rich", "psutil", "pyroute2", "pktpath.doctor"}),
        ([str(SICK)], {"numba", "numpy", "jinja2", "rich", "psutil", "pyroute2"}),
        ([str(SICK), "--html", "/dev/null", "--redact"], {"numba", "numpy", "rich", "psutil", "pyroute2"}),
    ):
        done = subprocess.run([sys.executable, "-c", code, "doctor", *arguments], capture_output=True, text=True, check=True)
        assert not set(done.stderr.split()) & heavy, arguments
