"""The shell around the engine: what it imports, how it fails, what it prints."""

import errno
import json
import os
import subprocess
import sys

import click
import pytest

from pktpath.cli import COMMANDS, LazyGroup, common, pktpath
from pktpath.control.plural import count_of
from pktpath.errors import BadInput, Refused

HEAVY = {"numba", "numpy", "llvmlite", "rich", "zstandard"}


def call(*arguments, **options):
    return subprocess.run([sys.executable, "-m", "pktpath", *arguments], capture_output=True, text=True, check=False, **options)


def listed() -> list[str]:
    return pktpath.list_commands(click.Context(pktpath))


def imported_by(*arguments: str) -> set[str]:
    code = (
        "import sys\nfrom pktpath.cli import main\n"
        f"try: main({list(arguments)!r})\nexcept SystemExit as stop: assert stop.code == 0, stop.code\n"
        "sys.stderr.write(' '.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([name, "--help"] for name in listed())], ids=" ".join)
def test_help_imports_nothing_heavy(arguments):
    assert not imported_by(*arguments) & HEAVY


def test_importing_pktpath_imports_nothing_heavy():
    code = "import sys, pktpath; print(' '.join(sys.modules))"
    assert not set(subprocess.check_output([sys.executable, "-c", code], text=True).split()) & HEAVY


def test_help_lists_the_commands_that_are_there_and_no_other(monkeypatch):
    monkeypatch.setitem(COMMANDS, "ghost", ("pktpath.cli.ghost:ghost", "Not here."))
    assert "ghost" not in pktpath.list_commands(click.Context(pktpath))
    text = call("--help").stdout
    for name in listed():
        assert COMMANDS[name][1] in text


def test_every_command_has_long_help_with_an_example():
    for name in listed():
        text = call(name, "--help").stdout
        assert f"\n  pktpath {name}" in text.split("Options:")[0].split("\n\n", 1)[1]
        assert "\\b" not in text


@pytest.mark.parametrize("arguments", [["nothing"], ["--nothing"], ["demo", "--nothing"], ["demo", "nothing"]], ids=" ".join)
def test_wrong_usage_is_one_line_and_exit_1(arguments):
    done = call(*arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("pktpath")
    assert "--help" in done.stderr


def test_no_command_shows_the_help_and_fails():
    done = call()
    assert (done.returncode, done.stdout) == (1, "")
    assert "Usage: pktpath" in done.stderr


def command_that(raises: BaseException) -> click.Command:
    def body() -> None:
        raise raises

    return click.Command("fails", callback=body)


@pytest.mark.parametrize(
    ("raises", "status", "line"),
    [
        (BadInput("x.pcap: offset 24: record length 9"), 1, "pktpath: x.pcap: offset 24: record length 9\n"),
        (BadInput("two\nlines"), 1, "pktpath: two lines\n"),
        (Refused("opening tap0 needs CAP_NET_ADMIN"), 2, "pktpath: opening tap0 needs CAP_NET_ADMIN\n"),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "x.pcap"),
            1,
            "pktpath: x.pcap: No such file or directory\n",
        ),
        (OSError(errno.ENOSPC, "No space left on device", "out.pcap"), 1, "pktpath: out.pcap: No space left on device\n"),
        (click.ClickException("Cannot."), 1, "pktpath: cannot\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_what_goes_wrong_is_one_line(raises, status, line, capsys):
    assert common.run(command_that(raises), []) == status
    captured = capsys.readouterr()
    assert (captured.out, captured.err.lstrip("\n")) == ("", line)


def test_a_fault_of_our_own_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        common.run(command_that(ZeroDivisionError()), [])


def test_a_command_may_return_its_status():
    assert common.run(click.Command("x", callback=lambda: 2), []) == 2
    assert common.run(click.Command("x", callback=lambda: None), []) == 0


@pytest.mark.parametrize(("filename", "line"), [(None, b""), ("<stdout>", b"pktpath: <stdout>: closed by its reader\n")])
def test_a_closed_pipe_is_quiet_for_text_and_said_for_captures(filename, line):
    code = (
        "import click, sys, errno\nfrom pktpath.cli.common import run\n"
        "def body():\n"
        "    try:\n"
        "        for _ in range(99999): click.echo('x' * 999)\n"
        "    except BrokenPipeError as error:\n"
        f"        error.filename = {filename!r}; raise\n"
        "sys.exit(run(click.Command('x', callback=body), []))"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    child.stdout.read(10)
    child.stdout.close()
    assert child.stderr.read() == line
    child.stderr.close()
    assert child.wait() == 1


ENDS = {"SIGTERM": 143, "SIGHUP": 129, "SIGINT": 130}


@pytest.mark.parametrize("name", ENDS)
def test_a_signal_leaves_through_the_clean_up(tmp_path, name):
    code = (
        "import click, os, signal, sys, pathlib\nfrom pktpath.cli.common import run\n"
        f"mark = pathlib.Path({str(tmp_path / 'half')!r})\n"
        "def body():\n"
        "    mark.touch()\n"
        f"    try: os.kill(os.getpid(), signal.{name}); signal.pause()\n"
        "    finally: mark.unlink()\n"
        "sys.exit(run(click.Command('x', callback=body), []))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == ENDS[name]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ENDS)
def test_a_signal_within_a_callback_of_c_code_is_not_lost(name):
    code = (
        "import click, ctypes, os, signal, sys, time\nfrom pktpath.cli.common import run\n"
        f"call = ctypes.CFUNCTYPE(None)(lambda: os.kill(os.getpid(), signal.{name}))\n"
        "def body():\n    call()\n    time.sleep(60)\n"
        "sys.exit(run(click.Command('x', callback=body), []))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, timeout=30)
    assert (done.returncode, done.stderr) == (ENDS[name], b"")


@pytest.mark.parametrize("stopped", [False, True])
def test_what_c_code_drops_is_told_unless_a_signal_came_before(stopped):
    """Objects of C libraries may be taken down half-made once a signal came; else an error in a callback is news."""
    code = (
        "import click, ctypes, os, signal, sys\nfrom pktpath.cli.common import run\n"
        "call = ctypes.CFUNCTYPE(None)(lambda: 1 // 0)\n"
        "def body():\n"
        f"    try: {'os.kill(os.getpid(), signal.SIGINT); signal.pause()' if stopped else 'pass'}\n"
        "    finally: call()\n"
        "sys.exit(run(click.Command('x', callback=body), []))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, timeout=30)
    assert (done.returncode, b"ZeroDivisionError" in done.stderr) == ((130, False) if stopped else (0, True))


def test_the_usual_options(tmp_path, capsys):
    seen = {}

    @click.command()
    @common.reads
    @common.writes(required=False)
    @common.json_option
    def command(**options):
        seen.update(options)

    assert common.run(command, ["-r", "a.pcap", "-w", "-", "--json", "tcp", "and", "port 80"]) == 0
    assert seen == {"source": "a.pcap", "target": "-", "as_json": True, "expression": "tcp and port 80"}
    assert common.run(command, ["--read", "a.pcap"]) == 0
    assert seen == {"source": "a.pcap", "target": None, "as_json": False, "expression": ""}
    assert common.run(command, ["-w", "b"]) == 1
    assert "--read" in capsys.readouterr().err


def test_output_onto_the_input_is_refused(tmp_path):
    one = tmp_path / "one"
    one.touch()
    (tmp_path / "other").symlink_to(one)
    with pytest.raises(click.UsageError):
        common.different_files(str(one), str(tmp_path / "other"))
    common.different_files(str(one), str(tmp_path / "new"))
    common.different_files(str(one), "-")
    common.different_files("-", str(one))


def test_numbers():
    assert common.number(1234567) == "1,234,567"
    assert common.number(3.14159, 2) == "3.14"
    assert common.scaled(0, "bit/s") == "0 bit/s"
    assert common.scaled(14_200_000, "bit/s") == "14.2 Mbit/s"
    assert common.scaled(999.6e9, "bit/s") == "1e+03 Gbit/s" or common.scaled(999.6e9, "bit/s") == "1 Tbit/s"


def test_one_thing_is_no_things():
    assert [count_of(count, "frame") for count in (0, 1, 2, 1234)] == ["0 frames", "1 frame", "2 frames", "1,234 frames"]
    assert count_of(1, "frame was", "frames were") == "1 frame was"
    assert count_of(2, "frame was", "frames were") == "2 frames were"


def test_a_piped_table_is_plain_aligned_words(capsys):
    common.print_table(["traffic", "frames"], [["bulk", "1,000"], [], ["small", "7"]], title="All of it")
    assert capsys.readouterr().out == "All of it\ntraffic  frames\nbulk      1,000\nsmall         7\n"


@pytest.mark.parametrize("no_color", [False, True])
def test_a_drawn_table_honours_no_color(no_color):
    code = "from pktpath.cli.common import print_table; print_table(['a', 'b'], [['x', '1']], title='T')"
    environment = {**os.environ, "TERM": "xterm-256color", **({"NO_COLOR": "1"} if no_color else {})}
    leader, follower = os.openpty()
    subprocess.run([sys.executable, "-c", code], stdout=follower, env=environment, check=True)
    os.close(follower)
    text = os.read(leader, 65536).decode()
    os.close(leader)
    assert "─" in text
    assert "\x1b[3" not in text if no_color else "\x1b[" in text


def test_json_is_json(capsys):
    common.print_json({"case": [1, None]})
    assert json.loads(capsys.readouterr().out) == {"case": [1, None]}


def test_progress_is_silent_where_nobody_looks(tmp_path, capsys):
    file = tmp_path / "x"
    file.write_bytes(b"12345678")
    with common.progress("reading", str(file)) as update:
        update(8)
    with common.steps("compiling", 2) as update:
        update(2)
    assert capsys.readouterr() == ("", "")


def test_the_group_is_lazy():
    assert isinstance(pktpath, LazyGroup)
    assert not {f"pktpath.cli.{name}" for name in COMMANDS} & imported_by("--help")
