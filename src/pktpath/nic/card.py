"""One of pktpath's own cards, as `ethtool` sees and changes it: a `Device` over a settings file.

A change that cannot be is refused whole, as the kernel does, and with the maximum in the message.
"""

import os
from dataclasses import replace
from typing import NoReturn

from pktpath import __version__
from pktpath.errors import BadInput, Refused
from pktpath.host.ethtool_values import Changes, Channels, Coalesce, DriverInfo, Rings, Rxfh, RxfhChange
from pktpath.nic.settings import INDIRECTION_SIZE, MOST_QUEUES, MOST_RING, NicSettings
from pktpath.nic.store import KEY_SIZES, LEAST_RING, load_nic, load_statistics, save_nic

FUNCTIONS = ("toeplitz", "xor", "crc32")
"""The kernel's names; a card has the first alone."""
_FIELDS = {"s": 1 << 4, "d": 1 << 5, "f": 1 << 6, "n": 1 << 7}
"""RXH_ bits (include/uapi/linux/ethtool.h)."""


class Card:
    """A card in a file; see `Device` for the methods."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.name = os.fspath(path)

    def channels(self) -> Channels:
        """Return the queues: each receives and sends."""
        return Channels(combined_max=MOST_QUEUES, combined=load_nic(self.name).queues)

    def set_channels(self, changes: Changes) -> None:
        """Change the number of queues; the indirection table must not name one that goes."""
        settings = load_nic(self.name)
        self._only(changes, "combined")
        queues = changes.get("combined", settings.queues)
        if not 1 <= queues <= MOST_QUEUES:
            self._refuse(f"combined {queues}: a card has from 1 to {MOST_QUEUES} queues")
        worst = max(settings.indirection, default=0)
        if worst >= queues:
            self._refuse(
                f"combined {queues}: the indirection table names queue {worst}; "
                f"'pktpath ethtool -X {self.name} equal {queues}' or 'default' first"
            )
        self._save(replace(settings, queues=queues))

    def rings(self) -> Rings:
        """Return the size of each receive ring."""
        return Rings(rx_max=MOST_RING, rx=load_nic(self.name).rx_ring)

    def set_rings(self, changes: Changes) -> None:
        """Change it."""
        settings = load_nic(self.name)
        self._only(changes, "rx")
        size = changes.get("rx", settings.rx_ring)
        if not LEAST_RING <= size <= MOST_RING or size & (size - 1):
            self._refuse(f"rx {size}: a ring has a power of two of descriptors, from {LEAST_RING} to {MOST_RING}")
        self._save(replace(settings, rx_ring=size))

    def coalesce(self) -> Coalesce:
        """Return when the card interrupts."""
        settings = load_nic(self.name)
        return Coalesce(rx_usecs=settings.rx_usecs, rx_frames=settings.rx_frames, adaptive_rx=int(settings.adaptive_rx))

    def set_coalesce(self, changes: Changes) -> None:
        """Change it."""
        settings = load_nic(self.name)
        self._only(changes, "rx_usecs", "rx_frames", "adaptive_rx")
        self._save(
            replace(
                settings,
                rx_usecs=changes.get("rx_usecs", settings.rx_usecs),
                rx_frames=changes.get("rx_frames", settings.rx_frames),
                adaptive_rx=bool(changes.get("adaptive_rx", settings.adaptive_rx)),
            )
        )

    def rxfh(self) -> Rxfh:
        """Return the indirection table, written out where it is the default, and the key."""
        settings = load_nic(self.name)
        table = settings.indirection or tuple(k % settings.queues for k in range(INDIRECTION_SIZE))
        functions = {name: name == FUNCTIONS[0] for name in FUNCTIONS}
        return Rxfh(rings=settings.queues, indirection=table, key=settings.key, functions=functions)

    def set_rxfh(self, change: RxfhChange) -> None:
        """Change table and key; the key may have any of the sizes that a card takes."""
        settings = load_nic(self.name)
        if change.function not in (None, FUNCTIONS[0]):
            if change.function not in FUNCTIONS:
                self._wrong(f"no hash function is named {change.function!r}; there are {', '.join(FUNCTIONS)}")
            self._refuse(f"hfunc {change.function}: a card has toeplitz only")
        if change.key is not None and len(change.key) not in KEY_SIZES:
            self._wrong(f"the hash key has {len(change.key)} bytes; a card's has {' or '.join(map(str, KEY_SIZES))}")
        worst = max(change.indirection or (0,))
        if worst >= settings.queues:
            self._refuse(f"the table names ring {worst}, and the device has rings 0 to {settings.queues - 1}")
        if change.indirection is not None:
            settings = replace(settings, indirection=change.indirection)
        self._save(replace(settings, key=settings.key if change.key is None else change.key))

    def hash_fields(self, flow: str) -> int:
        """Return what the hash covers for a flow type, as RXH_ bits."""
        return sum(_FIELDS[letter] for letter in self._letters(load_nic(self.name), flow))

    def set_hash_fields(self, flow: str, bits: int) -> None:
        """Change what the hash covers for a flow type."""
        settings = load_nic(self.name)
        self._letters(settings, flow)
        if bits & ~sum(_FIELDS.values()):
            self._refuse(f"a card hashes addresses and ports only: letters of {''.join(_FIELDS)}")
        letters = "".join(letter for letter, bit in _FIELDS.items() if bits & bit)
        self._save(replace(settings, hash_fields=settings.hash_fields | {flow: letters}))

    def _letters(self, settings: NicSettings, flow: str) -> str:
        if flow not in settings.hash_fields:
            self._refuse(f"a card does not hash {flow}; it has {', '.join(settings.hash_fields)}")
        return settings.hash_fields[flow]

    def statistics(self) -> list[tuple[str, int]]:
        """Return what the last replay counted."""
        return list(load_statistics(self.name).items())

    def driver(self) -> DriverInfo:
        """Return pktpath as the driver, and the file as the bus."""
        counted = len(load_statistics(self.name))
        return DriverInfo(driver="pktpath", version=__version__, bus_info=self.name, statistics=max(counted, 1))

    def _only(self, changes: Changes, *known: str) -> None:
        for name in changes:
            if name not in known:
                words = ", ".join(word.replace("_", "-") for word in known)
                self._refuse(f"{name.replace('_', '-')} cannot be set on this device, which has {words}")

    def _save(self, settings: NicSettings) -> None:
        save_nic(self.name, settings)

    def _refuse(self, what: str) -> NoReturn:
        message = f"{self.name}: {what}"
        raise Refused(message)

    def _wrong(self, what: str) -> NoReturn:
        message = f"{self.name}: {what}"
        raise BadInput(message)
