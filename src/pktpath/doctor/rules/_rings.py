"""Receive rings that can be made longer."""

from pktpath.doctor.case import Case
from pktpath.doctor.facts.device import Ring


def shorter_than_possible(case: Case) -> list[Ring]:
    """Return the receive rings that are not as long as the driver allows."""
    return [
        ring for ring in case.latest(Ring)
        if ring.which == "rx" and ring.current and ring.maximum and ring.current < ring.maximum
    ]  # fmt: skip
