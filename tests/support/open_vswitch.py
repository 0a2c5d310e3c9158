"""A private Open vSwitch: its own database, daemons and sockets, in a directory that goes away with it.

`OpenVSwitch()` has bridges whose packets exist only on paper (`ovs-vswitchd --enable-dummy`): `ofproto/trace`,
`netdev-dummy/receive` and `dump-flows` work without a single device. `OpenVSwitch(dummy=False)` is the userspace
datapath that moves frames between interfaces; add bridges with `datapath_type=netdev`.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
PROGRAMS = ("ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovs-ofctl", "ovs-appctl")
PATIENCE = 30.0
"""Seconds for a daemon to answer, or to go."""


def _found(program: str) -> str | None:
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def why_unavailable() -> str | None:
    """Say what is missing to start one, or None."""
    missing = [program for program in PROGRAMS if _found(program) is None]
    if missing or not SCHEMA.exists():
        what = missing[0] if missing else str(SCHEMA)
        return f"{what} is missing (run .ci/run as root, or: apt-get install openvswitch-switch)"
    return None


class OpenVSwitch:
    """A context manager; `vsctl`, `ofctl` and `appctl` take words and return what the program printed."""

    def __init__(self, *, dummy: bool = True, other_config: dict[str, str] | None = None, daemon: str = "ovs-vswitchd") -> None:
        self.dummy = dummy
        self.other_config = other_config or {}
        self.daemon = daemon
        self._directory = tempfile.TemporaryDirectory(prefix="pktpath-ovs-")
        self.rundir = Path(self._directory.name)
        self._processes: list[subprocess.Popen[bytes]] = []

    def environment(self) -> dict[str, str]:
        """Environment in which every ovs program finds this one and no other."""
        here = str(self.rundir)
        own = dict.fromkeys(("OVS_RUNDIR", "OVS_DBDIR", "OVS_LOGDIR", "OVS_SYSCONFDIR"), here)
        return {**os.environ, **own}

    @property
    def socket(self) -> Path:
        """Control socket of ovs-vswitchd, for `ovs-appctl -t`."""
        return self.rundir / f"{Path(self.daemon).name}.{self._processes[-1].pid}.ctl"

    @property
    def pid(self) -> int:
        """Process of ovs-vswitchd."""
        return self._processes[-1].pid

    def run(self, program: str, *words: str, check: bool = True, given: str | None = None) -> str:
        """Run a program of this switch, which reads `given`, and return what it printed; a failure carries what it said."""
        command = [_found(program) or program, *words]
        done = subprocess.run(
            command, env=self.environment(), cwd=self.rundir, input=given, capture_output=True, text=True, timeout=PATIENCE,
            check=False,
        )  # fmt: skip
        if check and done.returncode:
            said = f"{' '.join([program, *words])}: {done.stderr.strip()}"
            raise RuntimeError(said)
        return done.stdout if check else done.stdout + done.stderr

    def vsctl(self, *words: str) -> str:
        """Run ovs-vsctl; it waits until ovs-vswitchd has done what was asked."""
        return self.run("ovs-vsctl", f"--db=unix:{self.rundir}/db.sock", f"--timeout={PATIENCE:.0f}", *words)

    def ofctl(self, *words: str, check: bool = True, given: str | None = None) -> str:
        """Run ovs-ofctl."""
        return self.run("ovs-ofctl", *words, check=check, given=given)

    def appctl(self, *words: str, check: bool = True) -> str:
        """Run ovs-appctl on ovs-vswitchd."""
        return self.run("ovs-appctl", "-t", str(self.socket), *words, check=check)

    def bridge(self, name: str, ports: dict[str, int] | None = None, *words: str) -> None:
        """Add a bridge with ports of these OpenFlow numbers (dummy ones, in a dummy switch); `words` follow ovs-vsctl's."""
        kind = "dummy" if self.dummy else "netdev"
        command = ["add-br", name, "--", "set", "bridge", name, f"datapath_type={kind}", *words]
        for port, number in (ports or {}).items():
            command += ["--", "add-port", name, port, "--", "set", "interface", port, f"ofport_request={number}"]
            command += ["type=dummy"] if self.dummy else []
        self.vsctl(*command)

    def __enter__(self) -> Self:
        """Start both daemons and wait until they answer."""
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _start(self) -> None:
        database = self.rundir / "conf.db"
        self.run("ovsdb-tool", "create", str(database), str(SCHEMA))
        self._spawn("ovsdb-server", str(database), f"--remote=punix:{self.rundir}/db.sock")
        self._await(self.rundir / "db.sock")
        self.vsctl("--no-wait", "init")
        for key, value in self.other_config.items():
            self.vsctl("--no-wait", "set", "Open_vSwitch", ".", f"other_config:{key}={value}")
        words = ["--disable-system", "--no-chdir", *(["--enable-dummy"] if self.dummy else [])]
        self._spawn(self.daemon, f"unix:{self.rundir}/db.sock", *words)
        self._await(self.socket)

    def _spawn(self, program: str, *words: str) -> None:
        command = [_found(program) or program, *words, f"--pidfile={self.rundir}/{Path(program).name}.pid"]
        command += [f"--log-file={self.rundir}/{Path(program).name}.log", "-vconsole:off"]
        nowhere = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        process = subprocess.Popen(command, env=self.environment(), cwd=self.rundir, **nowhere)
        self._processes.append(process)

    def _await(self, path: Path) -> None:
        end = time.monotonic() + PATIENCE
        while not path.exists():
            if self._processes[-1].poll() is not None or time.monotonic() > end:
                log = "\n".join(file.read_text() for file in self.rundir.glob("*.log"))
                said = f"{path.name} did not come up: {log[-2000:]}"
                raise RuntimeError(said)
            time.sleep(0.01)

    def close(self) -> None:
        """End both daemons and remove their directory."""
        if self._processes and not self.dummy and self.socket.exists():
            # Else the devices that it made for its bridges stay behind.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.appctl("exit", "--cleanup", check=False)
        for process in reversed(self._processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()
        self._directory.cleanup()


def without_times(text: str) -> list[str]:
    """Lines of a `dump-flows` with every duration as 1s and ages taken out, sorted; the reply's own line is left out."""
    lines = [line for line in text.splitlines() if "reply" not in line]
    lines = [re.sub(r"duration=[\d.]+s", "duration=1s", line) for line in lines]
    return sorted(re.sub(r"(idle_age|hard_age)=\d+, ", "", line) for line in lines)


@pytest.fixture(scope="module")
def open_vswitch():
    """Give a test a dummy switch; skip where there is none."""
    missing = why_unavailable()
    if missing:
        pytest.skip(missing)
    with OpenVSwitch() as switch:
        yield switch
