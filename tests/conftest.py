"""Who judges, and what happens when a judge is missing.

An `oracle` test asks the running kernel, a `peer` test another program. Where they cannot, they
skip and say why. Under PKTPATH_CI=1 such a skip is a failure, unless its reason names a kernel feature
that tests/unjudged.txt lists: a green run then means that everything was judged.
"""

import functools
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

HERE = Path(__file__).parent
IN_CI = os.environ.get("PKTPATH_CI") == "1"

# What tests start may import what tests import.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH"))))

# Without a deadline: the first example of a property may compile a kernel.
settings.register_profile("pktpath", deadline=None, print_blob=True)
settings.load_profile("pktpath")

if os.environ.get("NUMBA_DISABLE_JIT") == "1":
    # Interpreted kernels run on numpy scalars, whose sums wrap as the machine's do, and warn about it.
    np.seterr(over="ignore")


@functools.cache
def kernel_missing() -> str | None:
    """Say what is missing to ask the running kernel, or None."""
    install = "run .ci/run as root, or: apt-get install ethtool iproute2"
    if os.geteuid() != 0:
        return f"the kernel answers only to root ({install})"
    for program in ("ethtool", "ip"):
        if shutil.which(program) is None:
            return f"{program} is missing ({install})"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "/dev/net/tun is missing (modprobe tun; in a container: --device /dev/net/tun)"
    if subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode:
        return "network namespaces are forbidden (in a container: --cap-add SYS_ADMIN, NET_ADMIN)"
    return None


@functools.cache
def unjudged() -> frozenset[str]:
    """Words of tests/unjudged.txt: kernel features that may be missing without a failure."""
    lines = (HERE / "unjudged.txt").read_text().splitlines()
    return frozenset(line.split()[0].lower() for line in lines if line.strip() and not line.startswith("#"))


def excused(reason: str) -> bool:
    """Whether the reason of a skip names a listed feature."""
    return not unjudged().isdisjoint(re.findall(r"[\w.-]+", reason.lower()))


def pytest_collection_modifyitems(items):
    """Give all oracle tests to one worker: the kernel answers one question at a time."""
    for item in items:
        if item.get_closest_marker("oracle"):
            item.add_marker(pytest.mark.xdist_group("oracle"))


def pytest_runtest_setup(item):
    """Skip an oracle test where the kernel cannot be asked."""
    if item.get_closest_marker("oracle") and (missing := kernel_missing()):
        pytest.skip(missing)


def _fail_a_skip(report):
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if IN_CI and not excused(reason):
        report.outcome = "failed"
        report.longrepr = f"not judged: {reason}; under PKTPATH_CI=1 only the features of tests/unjudged.txt may be missing"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Turn the skip of a judge into a failure where everything must be judged."""
    report = yield
    judged = item.get_closest_marker("oracle") or item.get_closest_marker("peer")
    if report.skipped and judged and not hasattr(report, "wasxfail"):
        _fail_a_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """Do the same for a module that skips itself whole."""
    report = yield
    if report.skipped:
        _fail_a_skip(report)
    return report
