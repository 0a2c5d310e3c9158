"""The page of a diagnosis in a real browser: no errors, every section, light and dark, on a desk and on a phone."""

import json
import re
import shutil
import struct
import subprocess
import zlib
from html import escape

import pytest

from pktpath.doctor.report.html import page_of
from support.doctor_report import diagnosis, finding
from test_doctor_report import hostile

pytestmark = pytest.mark.peer

SECTIONS = ["verdict", "findings", "stacks", "threads", "calls", "features", "well", "missing"]
CONSOLE = re.compile(r":CONSOLE.*")
LIGHT, DARK = "--blink-settings=preferredColorScheme=1", "--blink-settings=preferredColorScheme=0"
"""How Chromium counts them: dark is the first."""


@pytest.fixture
def browser(tmp_path):
    """Return a function that opens a page in headless Chromium and returns the document that it made, and its console."""
    if (program := shutil.which("chromium") or shutil.which("chromium-browser")) is None:
        pytest.skip("chromium is missing (apt-get install chromium)")

    def open_page(text: str, *options: str, width: int = 1280, high: int = 900) -> tuple[str, list[str]]:
        page = tmp_path / "page.html"
        page.write_text(text)
        line = [
            program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
            "--no-first-run",
            f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", "--v=0", f"--window-size={width},{high}",
            *options, page.as_uri(),
        ]  # fmt: skip
        done = subprocess.run(line, capture_output=True, text=True, check=True, timeout=120)
        return done.stdout, CONSOLE.findall(done.stderr)

    return open_page


def probed(text: str, script: str) -> str:
    """Return the page with a script more, which its policy would not let run, that leaves JSON in the title."""
    text = re.sub(r"<meta http-equiv=\"Content-Security-Policy\"[^>]*>", "", text)
    hook = "<script>window.onerror = function (m) { document.title = JSON.stringify({error: m}); };</script>"
    probe = f"<script>document.title = JSON.stringify((function () {{ {script} }})());</script>"
    return text.replace("<head>", f"<head>{hook}").replace("</body>", f"{probe}</body>")


def answer(browser, text: str, script: str, *options: str, **size):
    document, console = browser(probed(text, script), "--dump-dom", *options, **size)
    assert console == []
    return json.loads(re.search(r"<title>(.*?)</title>", document)[1])


def test_the_page_opens_without_errors_and_has_every_section(browser):
    document, console = browser(page_of(diagnosis(), about="node1"), "--dump-dom")
    assert console == []
    assert re.findall(r"<section id=\"(\w+)\"", document) == SECTIONS
    # The script ran: it has shown what is hidden without it, and shortened no name that has room.
    assert document.count('<button class="copy" type="button">') > 10
    assert ">netdev_dpdk_vhost_rxq_recv</text>" in document


def test_an_error_would_be_seen(browser):
    text = page_of(diagnosis()).replace('"use strict";', '"use strict"; no_such_function();')
    console = browser(text, "--dump-dom")[1]
    assert any("Content Security Policy" in line for line in console), console  # it is another script now
    console = browser(re.sub(r"<meta http-equiv[^>]*>", "", text), "--dump-dom")[1]
    assert any("no_such_function" in line for line in console), console


def test_nothing_hostile_runs(browser):
    document, console = browser(page_of(hostile(), about="<script>alert(1)</script>"), "--dump-dom")
    assert console == []
    assert document.count("<script>") == 1
    found = answer(browser, page_of(hostile()), "return document.querySelectorAll('script').length")
    assert found == 3  # ours, and the two of this test


def test_a_box_of_the_flame_graph_fills_the_width_when_clicked(browser):
    script = """
    function box(name) {
      return Array.from(document.querySelectorAll("svg.box")).find(function (b) { return b.getAttribute("data-name") === name; });
    }
    function shown(name) {
      var b = box(name);
      function per_cent(what) { return Math.round(parseFloat(b.getAttribute(what))); }
      return [b.getAttribute("display"), per_cent("x"), per_cent("width")];
    }
    function click(name) { box(name).dispatchEvent(new MouseEvent("click")); }
    var back = document.getElementById("flame-back");
    var before = shown("netdev_rxq_recv");
    click("netdev_rxq_recv");
    var zoomed = [shown("all"), shown("netdev_rxq_recv"), shown("rte_vhost_dequeue_burst"), shown("rdtsc"), back.hidden];
    var told = document.getElementById("flame-told").textContent;
    back.click();
    return {before: before, zoomed: zoomed, told: told, after: shown("netdev_rxq_recv"), hidden: back.hidden};
    """
    found = answer(browser, page_of(diagnosis()), script)
    assert found["before"] == found["after"] == ["inline", 40, 50]
    assert found["zoomed"] == [["inline", 0, 100], ["inline", 0, 100], ["inline", 0, 87], ["none", 91, 9], False]
    assert found["told"] == "netdev_rxq_recv: 480 of 951 samples, 50.5 %"
    assert found["hidden"]


def test_a_command_is_selected_to_be_copied(browser):
    script = "document.querySelector('button.copy').click(); return String(getSelection());"
    assert answer(browser, page_of(diagnosis()), script) == "sysctl -w net.core.netdev_max_backlog=4000"


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_window(browser, width):
    # In a frame, since a window is never as narrow as a phone.
    long = finding(summary="x" * 300, why="y" * 300, about="z" * 300)
    script = """
    var frame = document.querySelector("iframe");
    var root = frame.contentDocument.documentElement;
    return [frame.contentWindow.innerWidth, root.scrollWidth];
    """
    for told in (diagnosis(), diagnosis(long)):
        inside = re.sub(r"<meta http-equiv[^>]*>", "", page_of(told))
        probe = f"onload = function () {{ document.title = JSON.stringify((function () {{ {script} }})()); }};"
        frame = f'<iframe width="{width}" height="900" style="border: 0" srcdoc="{escape(inside)}"></iframe>'
        document, console = browser(f"<!DOCTYPE html><title></title><script>{probe}</script><body>{frame}</body>", "--dump-dom")
        assert console == []
        assert json.loads(re.search(r"<title>(.*?)</title>", document)[1]) == [width, width]


def test_what_is_folded_is_unfolded_for_paper(browser, tmp_path):
    paper = tmp_path / "page.pdf"
    script = """
    window.dispatchEvent(new Event("beforeprint"));
    var open = document.querySelectorAll("details:not([open])").length;
    window.dispatchEvent(new Event("afterprint"));
    return [open, document.querySelectorAll("details:not([open])").length > 0];
    """
    assert answer(browser, page_of(diagnosis()), script) == [0, True]
    browser(page_of(diagnosis()), f"--print-to-pdf={paper}")
    assert paper.read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("width", [360, 1280])
def test_pictures_are_made_light_and_dark(browser, tmp_path, width):
    grounds = []
    for scheme in (LIGHT, DARK):
        picture = tmp_path / "page.png"
        console = browser(page_of(diagnosis(), about="node1"), f"--screenshot={picture}", scheme, width=width, high=2000)[1]
        assert console == []
        grounds.append(corner(picture.read_bytes(), width, 2000))
    light, dark = grounds
    assert min(light) > 230
    assert max(dark) < 40


def corner(png: bytes, width: int, high: int) -> tuple[int, ...]:
    """Return the colour of the first pixel of a picture of this size."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", png[16:24]) == (width, high)
    data, at = b"", 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        if png[at + 4 : at + 8] == b"IDAT":
            data += png[at + 8 : at + 8 + length]
        at += length + 12
    # Of the first pixel every filter leaves the value as it is.
    return tuple(zlib.decompress(data)[1:4])
