"""The control socket: the same bytes as ovs-vswitchd, and what hostile clients cost."""

import json
import os
import random
import selectors
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pktpath.control import places, unixctl
from pktpath.control.commands import Commands
from pktpath.control.json_stream import MAX_DEPTH, JsonStream
from pktpath.control.unixctl import UnixctlServer
from pktpath.control.unixctl_client import call
from pktpath.errors import BadInput, Refused
from support.control_server import Served, everything, some_commands
from support.open_vswitch import OpenVSwitch, why_unavailable


@pytest.fixture
def served(tmp_path):
    with Served(tmp_path / "d.ctl") as served:
        yield served


@pytest.fixture(scope="module")
def switch():
    if missing := why_unavailable():
        pytest.skip(missing)
    with OpenVSwitch() as switch:
        yield switch


def appctl(path, *words):
    if shutil.which("ovs-appctl") is None:
        pytest.skip("ovs-appctl is missing (run .ci/run as root, or: apt-get install openvswitch-common)")
    return subprocess.run(["ovs-appctl", "-t", str(path), *words], capture_output=True, text=True, check=False, timeout=30)


def request(method, *words, ident=0):
    return json.dumps({"id": ident, "method": method, "params": words}).encode()


# As Open vSwitch


@pytest.mark.peer
def test_the_real_ovs_appctl_is_answered(served):
    done = appctl(served.path, "echo", "one", "two words", "Grüße", "-s", '"\\\n\t')
    assert (done.returncode, done.stdout, done.stderr) == (0, 'one two words Grüße -s "\\\n\t\n', "")
    assert appctl(served.path, "echo").stdout == ""
    assert appctl(served.path, "version").stdout.startswith("pktpath ")
    assert len(appctl(served.path, "much", "3000000").stdout) == 3000001
    for words, text in ((["forbid"], "the kernel says no"), (["fail"], "internal error of fail: ZeroDivisionError")):
        done = appctl(served.path, *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(text)
    assert any("ZeroDivisionError" in line for line in served.log)
    assert all(appctl(served.path, "echo", str(k)).stdout == f"{k}\n" for k in range(20))


@pytest.mark.peer
@pytest.mark.parametrize(
    "words", [["nope"], ["version", "a"], ["fdb/show"], ["fdb/show", "a", "b"], ["fdb/show", "nobr"]], ids=" ".join
)
def test_errors_are_those_of_open_vswitch(switch, served, words):
    theirs, ours = appctl(switch.socket, *words), appctl(served.path, *words)
    assert theirs.returncode == ours.returncode == 2
    assert theirs.stderr.replace(str(switch.socket), "SOCKET") == ours.stderr.replace(served.path, "SOCKET")


@pytest.mark.peer
def test_the_list_of_commands_is_that_of_open_vswitch(switch):
    theirs = switch.appctl("list-commands")
    commands = Commands()
    commands._commands.clear()
    for line in theirs.splitlines()[1:]:
        name, _, usage = line.strip().partition(" ")
        commands.register(name, usage.strip(), 0, 0, lambda words: "")
    assert commands.text() == theirs


@pytest.mark.peer
@pytest.mark.parametrize(
    "sent",
    [
        b'{"id":0,"method":"nope","params":[]}',
        b'{"method":"nope","id":0,"params":[]}\n{"id":1,"method":"fdb/show","params":["a"]}',
        b' \n\t{"id":"x","method":"fdb/show","params":[]}' * 3,
        b'{"id":2,"method":"version","params":["a"]}',
        b'{"id":2,"method":"fdb/show","params":[1]}',
        b'{"id":2,"method":"nope","params":[1]}',
        b'{"id":[1,{"a":null}],"method":"nope","params":[]}',
        '{"id":"ü\\u00e9","method":"nöpe","params":[]}'.encode(),
        b'{"id":2,"method":"fdb/show","params":{}}',
        b'{"id":2,"method":"version"}',
        b'{"id":null,"method":"version","params":[]}',
        b'{"id":3,"result":null,"error":null}',
        b"[1]",
        b'"x"',
        b"{",
        b'{"a":1}',
        b'{"id":1,"method":"nope","params":[]} }',
        b'{"id":1,"method":"nope","params":[],"x":1}',
        b'{"method":"version","params":[]}',
        b"{nothing}",
        b"\xff\xfe",
        b"",
    ],
)
def test_the_same_bytes_for_the_same_bytes(switch, served, sent):
    """Answers byte for byte, and whether the connection lasts."""
    found = []
    for path in (str(switch.socket), served.path):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
            sock.sendall(sent)
            found.append(everything(sock))
    assert found[0] == found[1]


# Streams


VALUES = st.recursive(
    st.text(max_size=5) | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(VALUES, max_size=4), st.data())
def test_a_stream_is_cut_where_its_objects_end(values, data):
    objects = [{"value": value} for value in values]
    texts = [json.dumps(value, ensure_ascii=data.draw(st.booleans())) for value in objects]
    whole = b"".join(text.encode() + data.draw(st.sampled_from([b"", b" ", b"\n\r\t"])) for text in texts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=9)))
    stream, found = JsonStream(1 << 20), []
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        found += stream.feed(whole[start:end])
    if any(text.count("[") + text.count("{") > MAX_DEPTH for text in texts):
        return
    assert stream.broken is None
    assert [json.loads(text) for text in found] == objects
    assert stream.held <= 3


@given(st.binary())
def test_no_bytes_are_more_than_a_broken_stream(sent):
    stream = JsonStream(64)
    for text in stream.feed(sent):
        assert text[0] == "{"
        assert text[-1] == "}"
    assert stream.held <= 64
    assert stream.broken is None or stream.feed(b"{}") == []


def test_each_byte_is_looked_at_once():
    """A long message in pieces of one byte takes time like its length, not like the square of it."""
    stream, message = JsonStream(1 << 20), b'{"x":"' + b"a" * 200_000 + b'"}'
    start = time.process_time()
    for byte in message[:-1]:
        assert stream.feed(bytes([byte])) == []
    assert stream.feed(message[-1:]) == [message.decode()]
    assert time.process_time() - start < 5


# Hostile clients: another one is served all the while


def assert_served(served):
    start = time.monotonic()
    assert call(served.path, "echo", ["still"], timeout=5) == "still\n"
    assert time.monotonic() - start < 1.0


def test_half_a_message_costs_nothing(served):
    whole = request("echo", "x")
    for cut in range(1, len(whole)):
        with served.connect() as sock:
            sock.sendall(whole[:cut])
    with served.connect() as one:
        for byte in whole:
            one.sendall(bytes([byte]))
            assert_served(served)
        assert json.loads(everything(one)[0])["result"] == "x\n"
    time.sleep(0.05)
    assert served.server.clients == 0


@pytest.mark.parametrize("seed", range(8))
def test_garbage_costs_its_connection(served, seed):
    rng = random.Random(seed)
    for _ in range(50):
        with served.connect() as sock, suppress(BrokenPipeError, ConnectionResetError):
            if rng.random() < 0.5:
                sock.sendall(rng.randbytes(rng.randrange(1, 5000)))
            else:
                whole = bytearray(request("echo", "a" * rng.randrange(100)))
                for _ in range(rng.randrange(1, 4)):
                    whole[rng.randrange(len(whole))] = rng.randrange(256)
                sock.sendall(whole)
    assert_served(served)
    assert not any("Traceback" in line for line in served.log)


@pytest.mark.parametrize(
    ("message", "word"),
    [
        (b'{"x":"' + b"a" * (unixctl.MAX_REQUEST + 1), "more than"),
        (b'{"x":' + b"[" * 100_000, "deep"),
        (b'{"id":1,"method":"echo","params":[' + b"9" * 100_000 + b"]}", "no JSON"),
        (b'{"id":1,"method":"\xc3\x28","params":[]}', "UTF-8"),
    ],
    ids=["huge", "deep", "digits", "no text"],
)
def test_a_message_that_is_too_much_costs_its_connection(served, message, word):
    with served.connect() as sock:
        with suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(message)
        assert everything(sock, 5)[1]
    assert_served(served)
    assert word in served.log[-1]
    assert served.server.dropped == 1


def test_half_of_a_character_is_answered(served):
    """JSON can hold what no text can: it must not end the daemon."""
    with served.connect() as sock:
        sock.sendall(b'{"id":1,"method":"echo","params":["\\ud800"]}')
        assert json.loads(everything(sock)[0])["id"] == 1
    assert_served(served)


def test_a_flood_of_requests_leaves_the_others_their_turn(served):
    with served.connect() as sock:
        sock.setblocking(False)
        flood, sent, until = request("echo", "flood") * 1000, 0, time.monotonic() + 1.0
        while time.monotonic() < until:
            with suppress(BlockingIOError):
                sent += sock.send(flood[sent % len(flood) :])
            with suppress(BlockingIOError):
                sock.recv(1 << 20)
            assert_served(served)
        assert sent > 0
    assert served.longest < 0.5
    assert_served(served)


def test_everyone_has_a_turn(tmp_path):
    """One client's hundred requests do not all come before another one's only one."""
    order, commands = [], Commands()
    commands.register("note", "who", 1, 1, lambda words: order.append(words[0]) or "")
    server = UnixctlServer(tmp_path / "d.ctl", commands)
    with selectors.DefaultSelector() as selector, socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as other:
        server.register(selector)
        for sock, sent in ((one, request("note", "one") * 100), (other, request("note", "other"))):
            sock.connect(str(tmp_path / "d.ctl"))
            sock.sendall(sent)
            sock.setblocking(False)
        until = time.monotonic() + 10
        while len(order) < 101 and time.monotonic() < until:
            for key, events in selector.select(0.1):
                key.data(events)
            # Who does not read its answers is not answered further.
            with suppress(BlockingIOError):
                one.recv(1 << 16)
        server.close()
    assert order.count("one") == 100
    assert order.index("other") <= 2 * unixctl.REQUESTS_A_TURN


def test_clients_that_never_read(tmp_path, monkeypatch):
    monkeypatch.setattr(unixctl, "MAX_HELD", 10_000_000)
    with Served(tmp_path / "d.ctl") as served:
        deaf = [served.connect() for _ in range(20)]
        for sock in deaf:
            sock.sendall(request("much", "2000000") * 5)
            assert_served(served)
            assert sum(client.held for client in list(served.server._clients.values())) <= 10_000_000
        assert served.server.dropped >= 15
        # Those that were not dropped are served when they read at last.
        assert len(everything(deaf[-1], 1.0)[0]) > 9_000_000
        for sock in deaf:
            sock.close()
        assert_served(served)


def test_an_answer_can_be_too_long(tmp_path, monkeypatch):
    monkeypatch.setattr(unixctl, "MAX_REPLY", 1000)
    with Served(tmp_path / "d.ctl") as served:
        assert len(call(served.path, "much", ["900"])) == 901
        with pytest.raises(Refused, match=r"the answer to much has 10.. bytes, at most 1000 can go"):
            call(served.path, "much", ["1000"])


def test_many_connections_cost_the_silent_ones(served):
    busy = served.connect()
    silent = []
    for k in range(100):
        silent.append(served.connect())
        busy.sendall(request("echo", str(k)))
        assert b"result" in busy.recv(1000)
        assert served.server.clients <= unixctl.MAX_CLIENTS
    assert_served(served)
    busy.close()
    for sock in silent:
        sock.close()


def test_descriptors_are_used_up(tmp_path):
    """A daemon without descriptors left neither spins nor ends."""
    code = (
        "import os, resource, selectors, sys, time\n"
        "from pktpath.control.unixctl import UnixctlServer\n"
        "from support.control_server import some_commands\n"
        "server = UnixctlServer(sys.argv[1], some_commands())\n"
        "selector = selectors.DefaultSelector()\n"
        "server.register(selector)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))\n"
        "print('up', flush=True)\n"
        "while True:\n"
        "    for key, events in selector.select(): key.data(events)\n"
    )
    path = tmp_path / "d.ctl"
    child = subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE)
    try:
        assert child.stdout.readline() == b"up\n"
        held = [socket.socket(socket.AF_UNIX) for _ in range(25)]
        for sock in held:
            sock.connect(str(path))
        assert call(path, "echo", ["still"], timeout=5) == "still\n"
        for sock in held:
            sock.close()
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_all_of_it_at_once_leaves_nothing_behind(served):
    assert_served(served)
    before = descriptors()
    stop = threading.Event()

    def hostile(kind):
        rng = random.Random(kind)
        while not stop.is_set():
            with suppress(OSError), served.connect(timeout=0.2) as sock:
                sock.sendall((rng.randbytes(3000), request("much", "300000") * 9, request("echo")[:-1], b"{" * 9000)[kind])
                if rng.random() < 0.5:
                    sock.recv(10)

    threads = [threading.Thread(target=hostile, args=(kind,)) for kind in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(40):
        assert call(served.path, "echo", ["still"], timeout=10) == "still\n"
    stop.set()
    for thread in threads:
        thread.join()
    assert_served(served)
    until = time.monotonic() + 5
    while served.server.clients and time.monotonic() < until:
        time.sleep(0.01)
    assert served.server.clients == 0
    assert descriptors() <= before
    assert not any("Traceback" in line for line in served.log)


# The socket


def test_the_socket_is_private_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        server = UnixctlServer(tmp_path / "d.ctl", Commands())
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "d.ctl").stat().st_mode) == 0o600
    server.close()
    assert list(tmp_path.iterdir()) == []


def test_a_second_daemon_is_refused_and_names_the_first(served):
    with pytest.raises(Refused, match=rf"^{served.path}: the daemon of pid {os.getpid()} serves this control socket$"):
        UnixctlServer(served.path, Commands())
    assert_served(served)


def test_a_second_daemon_is_refused_while_the_first_is_stuck(tmp_path):
    """Nobody takes connections, and its queue of them is full."""
    path = tmp_path / "d.ctl"
    stuck = UnixctlServer(path, Commands())
    waiting = []
    while True:
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        waiting.append(sock)
        if sock.connect_ex(str(path)):
            break
    with pytest.raises(Refused, match="another daemon serves this control socket"):
        UnixctlServer(path, Commands())
    for sock in waiting:
        sock.close()
    stuck.close()


def test_the_socket_of_a_dead_daemon_is_replaced(tmp_path):
    path = tmp_path / "d.ctl"
    code = (
        "import sys, time\nfrom pktpath.control.unixctl import UnixctlServer\nfrom pktpath.control.commands import Commands\n"
        "server = UnixctlServer(sys.argv[1], Commands())\nprint('up', flush=True)\ntime.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"up\n"
    with pytest.raises(Refused, match=f"the daemon of pid {child.pid} serves"):
        UnixctlServer(path, Commands())
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert path.is_socket()
    with pytest.raises(Refused, match="is gone"):
        call(path, "version")
    with Served(path) as served:
        assert_served(served)
    assert not path.exists()


def test_of_many_daemons_that_start_together_one_serves(tmp_path):
    path = tmp_path / "d.ctl"
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    code = (
        "import sys, time\nfrom pktpath.control.unixctl import UnixctlServer\nfrom pktpath.control.commands import Commands\n"
        "from pktpath.errors import Refused\n"
        "try: server = UnixctlServer(sys.argv[1], Commands())\n"
        "except Refused: print('refused', flush=True)\n"
        "else: print('up', flush=True)\n"
        "sys.stdin.read()"
    )
    both = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    children = [subprocess.Popen([sys.executable, "-c", code, path], **both) for _ in range(6)]
    said = sorted(child.stdout.readline() for child in children)
    for child in children:
        child.communicate()
    assert said == [b"refused\n"] * 5 + [b"up\n"]


def test_a_start_waits_for_another_start(tmp_path, monkeypatch):
    path, made = tmp_path / "d.ctl", []
    with places.start_lock(path):
        thread = threading.Thread(target=lambda: made.append(UnixctlServer(path, Commands())))
        thread.start()
        thread.join(0.2)
        assert not made
        assert not path.exists()
    thread.join(5)
    made[0].close()
    monkeypatch.setattr(places, "_PATIENCE", 0.1)
    with places.start_lock(path), pytest.raises(Refused, match="held by another program"):
        UnixctlServer(path, Commands())


def test_a_file_in_the_way_is_refused(tmp_path):
    path = tmp_path / "d.ctl"
    path.write_text("precious")
    with pytest.raises(Refused, match="no socket; name another"):
        UnixctlServer(path, Commands())
    assert path.read_text() == "precious"
    with pytest.raises(Refused, match=r"no control socket: No such file or directory$"):
        UnixctlServer(tmp_path / "nowhere" / "d.ctl", Commands())


def test_another_ones_socket_is_not_taken_away(tmp_path):
    path = tmp_path / "d.ctl"
    first = UnixctlServer(path, Commands())
    path.unlink()
    second = UnixctlServer(path, Commands())
    first.close()
    assert path.is_socket()
    second.close()
    assert not path.exists()


def test_a_long_path(tmp_path):
    deep = tmp_path / ("d" * 80) / ("e" * 80)
    deep.mkdir(parents=True)
    with Served(deep / "d.ctl") as served:
        assert call(served.path, "echo", ["deep"]) == "deep\n"
    assert list(deep.iterdir()) == []
    with pytest.raises(BadInput, match="the name of a socket has at most"):
        UnixctlServer(deep / ("f" * 100), Commands())


def test_answers_under_way_are_sent_before_it_closes(tmp_path):
    server = UnixctlServer(tmp_path / "d.ctl", some_commands())
    with selectors.DefaultSelector() as selector, socket.socket(socket.AF_UNIX) as sock:
        server.register(selector)
        sock.connect(str(tmp_path / "d.ctl"))
        sock.sendall(request("much", "1000000"))
        got = []
        reader = threading.Thread(target=lambda: got.append(everything(sock, 2)[0]))
        for _ in range(2):
            for key, events in selector.select(1):
                key.data(events)
        reader.start()
        server.close()
        reader.join()
    assert len(got[0]) > 1_000_000


# The client


def answered_by(tmp_path, answer):
    """A daemon that answers whatever it is asked with these pieces, and None: waits."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "f.ctl"))
    listener.listen()

    def run():
        sock, _ = listener.accept()
        with sock, listener, suppress(OSError):
            sock.recv(1 << 16)
            for piece in answer:
                if piece is None:
                    time.sleep(0.3)
                else:
                    sock.sendall(piece)

    threading.Thread(target=run, daemon=True).start()
    return tmp_path / "f.ctl"


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        ([b'{"id":0,"result":"a}","er', b'ror":null}'], None, "a}"),
        ([b'{"id":0,"error":"no such bridge\\n"}'], Refused, "^no such bridge$"),
        ([b'{"id":1,"result":"x","error":null}'], BadInput, "no answer of a control socket"),
        ([b'{"id":0,"result":7,"error":null}'], BadInput, "no answer of a control socket"),
        ([b"[1]"], Refused, "closed the connection"),
        ([], Refused, "closed the connection"),
        ([b'{"id":0,'], Refused, "closed the connection"),
        ([None, None, None, None], Refused, "no answer to x within 0.5 seconds"),
        ([b"{", None, b" ", None, b" ", None, b" ", None], Refused, "no answer to x within 0.5 seconds"),
    ],
)
def test_what_a_daemon_may_answer(tmp_path, answer, error, text):
    path = answered_by(tmp_path, answer)
    if error is None:
        assert call(path, "x", timeout=5) == text
        return
    with pytest.raises(error, match=text):
        call(path, "x", timeout=0.5)


def test_nobody_is_there(tmp_path):
    with pytest.raises(Refused, match="no control socket is there"):
        call(tmp_path / "d.ctl", "version")


@pytest.mark.peer
def test_our_client_asks_the_real_daemon(switch):
    assert call(switch.socket, "version") == switch.appctl("version")
    with pytest.raises(Refused, match=r'^"nope" is not a valid command'):
        call(switch.socket, "nope")
