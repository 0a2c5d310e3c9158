"""The settings and statistics of one of pktpath's own cards, in a file.

A JSON object that a person may read and edit: `pktpath ethtool` changes it, `pktpath replay --nic` uses it. What
is not in it has its default. It is written beside and renamed, so that a reader sees one state or the other.
"""

import contextlib
import json
import os
import stat
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

from pktpath.errors import BadInput
from pktpath.features import KERNEL_NAMES, OLD_NAMES, Feature, FeatureState, names_of
from pktpath.nic.settings import HASH_FIELDS, MOST_QUEUES, MOST_RING, NicSettings

FORMAT = "pktpath nic 1"
"""The first field of every such file: nothing else is read, or written over."""
LEAST_RING = 64
MOST_TABLE = 4096
KEY_SIZES = (40, 52)
_MOST_BYTES = 4 << 20
_U32, _S32, _S64, _U64 = (1 << 32) - 1, (1 << 31) - 1, (1 << 63) - 1, (1 << 64) - 1
_MODE = 0o644
_FEATURES = KERNEL_NAMES | OLD_NAMES
_FEATURE_SETS = ("hw", "wanted", "active", "nochange")


class _Wrong(Exception):  # noqa: N818  it is turned into BadInput at once
    """What is wrong with a value, said without file and field."""


def is_nic(device: str) -> bool:
    """Whether this names a settings file, not a device of the host."""
    return "/" in device or device.endswith(".nic")


def load_nic(path: str | os.PathLike[str]) -> NicSettings:
    """Return the settings in a file.

    Raises:
        BadInput: it cannot be read, or a field is wrong; one line with both names.

    """
    return _load(path)[0]


def load_statistics(path: str | os.PathLike[str]) -> dict[str, int]:
    """Return the statistics in a file, in their order; empty before the first replay; errors as in `load_nic`."""
    return _load(path)[1]


def save_nic(path: str | os.PathLike[str], settings: NicSettings) -> None:
    """Write settings into a file, and leave its statistics as they are; a new file has none.

    Raises:
        BadInput: a setting is out of its limits, or the file is none of ours or cannot be written.

    """
    statistics = load_statistics(path) if os.path.lexists(path) else {}
    _save(path, settings, statistics)


def save_statistics(path: str | os.PathLike[str], statistics: Mapping[str, int]) -> None:
    """Write statistics into a file, and leave its settings as they are; errors as in `save_nic`."""
    _save(path, load_nic(path), statistics)


def create_nic(path: str | os.PathLike[str], settings: NicSettings | None = None) -> None:
    """Make a file, with the defaults where nothing else is said.

    Raises:
        BadInput: there is one of this name, or it cannot be written.

    """
    _save(path, settings or NicSettings(), {}, fresh=True)


# Reading


def _load(path: str | os.PathLike[str]) -> tuple[NicSettings, dict[str, int]]:
    name = os.fspath(path)
    document = _document(name)
    statistics = document.pop("statistics", {})
    values: dict[str, Any] = {}
    for field, value in document.items():
        if field not in _READERS:
            _bad(name, f"there is no field {_shown(field)}; known are {', '.join((*_READERS, 'statistics'))}")
        values[field] = _read(name, field, value)
    settings = NicSettings(**values)
    _check_together(name, settings)
    _read(name, "statistics", statistics, _statistics)
    return settings, statistics


def _read(name: str, field: str, value: object, reader: Callable[[object], Any] | None = None) -> Any:
    try:
        return (reader or _READERS[field])(value)
    except _Wrong as wrong:
        _bad(name, f"{field}: {wrong}")


def _document(name: str) -> dict[str, Any]:
    try:
        # Without O_NONBLOCK a FIFO would wait here for a writer.
        with os.fdopen(os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                _bad(name, "this is no regular file, and so no card of pktpath's")
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        hint = f"; 'pktpath ethtool --create {name}' makes one" if isinstance(error, FileNotFoundError) else ""
        _bad(name, f"{error.strerror}{hint}")
    except ValueError:
        _bad(name, "this is no file name")
    if len(data) > _MOST_BYTES:
        _bad(name, f"a card's file has at most {_MOST_BYTES >> 20} MiB")
    try:
        document = json.loads(data, object_pairs_hook=_once, parse_constant=_no_constant)
    except (_Wrong, RecursionError, ValueError) as error:
        where = f" in line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        what = str(error) if isinstance(error, _Wrong) else f"not JSON{where}"
        _bad(name, what)
    if not isinstance(document, dict) or document.pop("format", None) != FORMAT:
        _bad(name, f'format: this is no card of pktpath\'s; its file is a JSON object with "format": "{FORMAT}"')
    return document


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field, value in pairs:
        if field in found:
            message = f"{_shown(field)} is there twice"
            raise _Wrong(message)
        found[field] = value
    return found


def _no_constant(text: str) -> NoReturn:
    message = f"not JSON: {text}"
    raise _Wrong(message)


def _bad(name: str, what: str) -> NoReturn:
    message = f"{name}: {what}"
    raise BadInput(message)


def _shown(value: object) -> str:
    """Return a value of the file as a short line."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else text[:37] + "..."


# One reader a field: returns the value for NicSettings, or says what is wrong


def _integer(least: int, most: int, *, power: bool = False) -> Callable[[object], int]:
    kind = "a power of two" if power else "a whole number"

    def reader(value: object) -> int:
        if type(value) is not int or not least <= value <= most or (power and value & (value - 1)):
            message = f"{kind} from {least} to {most}, not {_shown(value)}"
            raise _Wrong(message)
        return value

    return reader


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        message = f"true or false, not {_shown(value)}"
        raise _Wrong(message)
    return value


def _key(value: object) -> bytes:
    key = b""
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        key = bytes.fromhex(value.replace(":", ""))  # type: ignore[attr-defined]
    if len(key) not in KEY_SIZES:
        sizes = " or ".join(map(str, KEY_SIZES))
        message = f"{sizes} bytes in hexadecimal with colons between, not {_shown(value)}"
        raise _Wrong(message)
    return key


def _indirection(value: object) -> tuple[int, ...]:
    if not isinstance(value, list | tuple):
        message = f"a list of queues, not {_shown(value)}"
        raise _Wrong(message)
    if value and (len(value) > MOST_TABLE or len(value) & (len(value) - 1)):
        message = f"the table has a power of two of entries up to {MOST_TABLE}, or none, not {len(value)}"
        raise _Wrong(message)
    queue = _integer(0, MOST_QUEUES - 1)
    return tuple(map(queue, value))


def _hash_fields(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        message = f"an object with letters for each flow type, not {_shown(value)}"
        raise _Wrong(message)
    for flow, letters in value.items():
        if flow not in HASH_FIELDS:
            message = f"there is no flow type {_shown(flow)}; known are {', '.join(HASH_FIELDS)}"
            raise _Wrong(message)
        if not isinstance(letters, str) or set(letters) - set("sdfn") or len(set(letters)) != len(letters):
            message = f"{flow} has letters of sdfn, each once, not {_shown(letters)}"
            raise _Wrong(message)
    return HASH_FIELDS | value


def _features(value: object) -> FeatureState:
    if not isinstance(value, dict) or set(value) != set(_FEATURE_SETS):
        message = f"an object with {', '.join(_FEATURE_SETS)}, not {_shown(value)}"
        raise _Wrong(message)
    return FeatureState(**{name: _feature_set(name, value[name]) for name in _FEATURE_SETS})


def _feature_set(name: str, value: object) -> Feature:
    if not isinstance(value, list):
        message = f"{name} is a list of feature names, not {_shown(value)}"
        raise _Wrong(message)
    features = Feature.NONE
    for word in value:
        if not isinstance(word, str) or word not in _FEATURES:
            message = f"{name} names {_shown(word)}, which is no feature"
            raise _Wrong(message)
        features |= _FEATURES[word]
    return features


def _statistics(value: object) -> None:
    if not isinstance(value, Mapping):
        message = f"an object with a number for each name, not {_shown(value)}"
        raise _Wrong(message)
    for name, number in value.items():
        if not name.isprintable() or not name:
            message = f"{_shown(name)} is no name"
            raise _Wrong(message)
        if type(number) is not int or not 0 <= number <= _U64:
            message = f"{name} is a whole number from 0 to {_U64}, not {_shown(number)}"
            raise _Wrong(message)


_READERS: dict[str, Callable[[object], Any]] = {
    "features": _features,
    "queues": _integer(1, MOST_QUEUES),
    "rx_ring": _integer(LEAST_RING, MOST_RING, power=True),
    "rx_usecs": _integer(0, _U32),
    "rx_frames": _integer(0, _U32),
    "adaptive_rx": _boolean,
    "key": _key,
    "indirection": _indirection,
    "hash_fields": _hash_fields,
    "hash_inner": _boolean,
    "gro_flush_timeout": _integer(0, _S64),
    "napi_defer_hard_irqs": _integer(0, _S32),
    "threaded": _boolean,
}
"""Each field of NicSettings as the file has it."""


def _check_together(name: str, settings: NicSettings) -> None:
    worst = max(settings.indirection, default=0)
    if worst >= settings.queues:
        _bad(name, f"indirection: names queue {worst}, and the card has queues 0 to {settings.queues - 1}")
    state = settings.features
    if extra := (state.active | state.wanted | state.nochange) & ~state.hw:
        _bad(name, f"features: {', '.join(names_of(extra))}: not among those of hw")


# Writing


def _save(path: str | os.PathLike[str], settings: NicSettings, statistics: Mapping[str, int], *, fresh: bool = False) -> None:
    name = os.fspath(path)
    plain = _plain(settings)
    # What is written must be readable again.
    for field, value in plain.items():
        _read(name, field, value)
    _check_together(name, settings)
    _read(name, "statistics", statistics, _statistics)
    text = json.dumps({"format": FORMAT, **plain, "statistics": dict(statistics)}, indent=2) + "\n"
    try:
        _write(Path(name), _in_one_line(text, "indirection").encode(), fresh=fresh)
    except FileExistsError:
        _bad(name, "there is a file of this name already")
    except OSError as error:
        _bad(name, error.strerror or str(error))


def _in_one_line(text: str, field: str) -> str:
    """Return the document with the list of one field in one line."""
    head, mark, rest = text.partition(f'  "{field}": [')
    inside, end, tail = rest.partition("]")
    return head + mark + " ".join(inside.split()) + end + tail


def _plain(settings: NicSettings) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for field in fields(settings):
        value = getattr(settings, field.name)
        if isinstance(value, FeatureState):
            value = {name: names_of(getattr(value, name)) for name in _FEATURE_SETS}
        elif isinstance(value, bytes):
            value = value.hex(":")
        elif isinstance(value, tuple):
            value = list(value)
        plain[field.name] = value
    return plain


def _write(path: Path, data: bytes, *, fresh: bool) -> None:
    """Write beside and rename; a link stays a link."""
    path = path.resolve()
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), _MODE)
        if fresh:
            _link(temporary, path)
        else:
            Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise


def _link(temporary: str, path: Path) -> None:
    """Give the file its name; unlike a rename, a link fails where a file is."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        # A file system without links.
        if path.exists():
            raise FileExistsError from None
        Path(temporary).replace(path)
    else:
        Path(temporary).unlink()
