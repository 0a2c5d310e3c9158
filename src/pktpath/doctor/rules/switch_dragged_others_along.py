"""One switch of `ethtool -K` took others with it.

The kernel keeps features consistent: who segments must compute checksums and gather fragments, so `tx off` takes TSO and UDP
segmentation along, and `sg off` takes GSO and TSO. ethtool says so under "Actual changes:" as `[not requested]`; in `ethtool -k`
the same lines then read `off [requested on]`. They are consequences, not causes: switching the first one back brings them back.

Speaks for each command that took TSO, GSO or another feature along: a note, or a warning where no later `ethtool -k` of the
device is there to judge by.
Silent about what was asked for, and about features that come back.
Source: `netdev_fix_features` (net/core/dev.c), ethtool(8).
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.device import FeatureChange
from pktpath.doctor.finding import Confidence, Finding, Remedy, Severity, rule
from pktpath.doctor.remedy import features
from pktpath.doctor.rules._dependencies import feature_set, rule_between, spoken, wanted
from pktpath.doctor.rules._devices import GROUP_NAMES, features_of, kernel_name, listed, places


@rule(
    FeatureChange,
    ask="ethtool -K DEV …, with what it prints",
    well="No switch took others with it.",
    topic="features",
)
def switch_dragged_others_along(case: Case) -> Iterator[Finding]:
    """One finding a command and reason."""
    commands: dict[tuple[str, str, str, int], list[FeatureChange]] = {}
    for change in case.all(FeatureChange):
        commands.setdefault((change.at.scope, change.dev, change.command, change.at.order), []).append(change)
    judged = set(features_of(case))
    for (scope, dev, command, _), changes in commands.items():
        asked = [change for change in changes if change.asked]
        off = feature_set(change.name for change in asked if not change.active)
        on = feature_set(change.name for change in asked if change.active)
        reasons: dict[str, list[FeatureChange]] = {}
        for change in changes:
            if not change.asked and not change.active and change.name not in GROUP_NAMES:
                known = rule_between(kernel_name(change.name), off, on)
                reasons.setdefault(wanted(known) if known else "", []).append(change)
        for need, dragged in reasons.items():
            if not need:
                continue
            words = _switch(command) or listed(f"{c.name} {'on' if c.active else 'off'}" for c in asked)
            what = spoken(kernel_name(change.name) for change in dragged)
            verb = "needs" if len(what) == 1 else "need"
            yield Finding(
                severity=Severity.NOTE if (scope, dev) in judged else Severity.WARNING,
                confidence=Confidence.CERTAIN,
                summary=f"{words} turned off {listed(what)} too{f' at {dev}' if dev else ''}, because {listed(what)} {verb} "
                f"{need}.",
                evidence=places(
                    [change.at for change in dragged[:4]], [change.at for change in asked if change.active is bool(on)][:2]
                ),
                why=f"Segmentation of any kind (TSO, UDP segmentation, GSO) needs {need}: each piece has a header and a "
                "checksum of its own, and its bytes lie in several places. The lines [not requested] here, and [requested "
                "on] in ethtool -k, are consequences, not causes."
                if need in {"checksum offload", "scatter-gather"}
                else "The kernel keeps features consistent; the lines [not requested] are consequences, not causes.",
                about=dev,
                remedies=_back(scope, dev, words),
            )  # fmt: skip


def _switch(command: str) -> str:
    """Return the switches of a command: `tx off` of `ethtool -K e1 tx off`."""
    return " ".join(command.split()[3:])


def _back(scope: str, dev: str, words: str) -> tuple[Remedy, ...]:
    pairs = words.split()
    if not dev or len(pairs) % 2 or len(pairs) > 8 or any(state not in {"on", "off"} for state in pairs[1::2]):
        return ()
    return (
        features(
            dev,
            {name: state == "off" for name, state in zip(pairs[::2], pairs[1::2], strict=True)},
            scope=scope,
            effect="What was dragged along comes back by itself, as it is still requested.",
            cost="What the switch was turned for comes back too: with checksum offload, captures on this host show frames whose "
            "checksums are not filled in yet.",
            verify=f"ethtool -k {dev} shows no [requested on] any more",
        ),
    )
