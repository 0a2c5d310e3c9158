"""Prometheus: what a scrape says, by prometheus_client's own parser."""

import subprocess
import sys
import threading
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pktpath.control.metrics import PORT_COUNTERS, WORKER_COUNTERS, Measured, serve
from pktpath.errors import Refused
from pktpath.features import PORT_FEATURES, Feature
from pktpath.switch.views import DatapathView, PortView
from support.fake_switch import COUNTERS, WORKER


def measured():
    ports = (
        PortView(1, "p1", "packet", "br0", 1, {}, COUNTERS),
        PortView(2, 'p"2\\', "tap", "br0", 2, {}, {"rx_packets": 9}),
    )
    view = DatapathView("dp", 10, 2, 1, 7, 3, 15, ports, (WORKER, WORKER._replace(core=None)))
    state = PORT_FEATURES._replace(active=PORT_FEATURES.active & ~Feature.GRO, nochange=Feature.SG)
    return Measured(view, {"p1": state}, {"p1": True, "p2": False})


@pytest.fixture
def scrape():
    """Serve on a port that the kernel chooses, and return a function that reads it."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    calls = []

    def count():
        calls.append(threading.get_ident())
        return measured()

    close = serve(("127.0.0.1", port), count)
    try:
        yield lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode(), calls, port
    finally:
        close()


def samples(text):
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_scrape_says_what_the_view_says(scrape):
    read, calls, _ = scrape
    found = samples(read())

    def value(name, **labels):
        return found[name, tuple(sorted(labels.items()))]

    assert value("pktpath_datapath_hit_total") == 10
    assert (value("pktpath_datapath_flows"), value("pktpath_datapath_masks")) == (7, 3)
    assert value("pktpath_port_rx_packets_total", bridge="br0", port="p1") == 5
    assert value("pktpath_port_rx_packets_total", bridge="br0", port='p"2\\') == 9
    assert value("pktpath_port_drops_total", bridge="br0", port="p1", reason="malformed") == 4
    assert value("pktpath_port_queued", bridge="br0", port="p1") == 1
    assert (value("pktpath_port_up", port="p1"), value("pktpath_port_up", port="p2")) == (1, 0)
    assert value("pktpath_worker_emc_hits_total", worker="core1") == 2
    assert value("pktpath_worker_emc_hits_total", worker="1") == 2
    assert value("pktpath_queue_load", worker="core1", port="p1", queue="0") == 0.25
    assert value("pktpath_ethtool_feature", device="p1", feature="rx-gro", fixed="no") == 0
    assert value("pktpath_ethtool_feature", device="p1", feature="tx-scatter-gather", fixed="yes") == 1
    assert ("process_open_fds", ()) in found
    # Asked in a thread that is not the datapath's, and once a scrape.
    assert len(calls) == 1
    assert calls[0] != threading.get_ident()


def test_every_counter_has_its_metric(scrape):
    text = scrape[0]()
    for name in PORT_COUNTERS:
        assert f"# TYPE pktpath_port_{name}_total counter" in text
    for name in WORKER_COUNTERS:
        assert f"# TYPE pktpath_worker_{name}_total counter" in text


def test_a_port_that_is_taken_is_refused(scrape):
    with pytest.raises(Refused, match=rf"metrics: 127\.0\.0\.1:{scrape[2]}: Address already in use"):
        serve(("127.0.0.1", scrape[2]), measured)


def test_the_client_is_imported_only_to_serve():
    code = "import sys, pktpath.control.metrics, pktpath.control.daemon; print(' '.join(sys.modules))"
    assert "prometheus_client" not in subprocess.check_output([sys.executable, "-c", code], text=True).split()
