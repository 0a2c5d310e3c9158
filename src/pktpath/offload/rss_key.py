"""Keys, fields and indirection tables of receive-side scaling, as values: no numba here.

Source: Microsoft's RSS hashing types; ethtool(8) for the letters of the fields and for what `equal` and `weight` mean.
"""

from collections.abc import Mapping, Sequence
from string import hexdigits

from pktpath.errors import BadInput

DEFAULT_KEY = bytes.fromhex(
    "6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa",
)
"""Microsoft's published key of 40 bytes, the default of most drivers that do not draw one."""
SYMMETRIC_KEY = bytes.fromhex("6d5a" * 20)
"""Two bytes repeated: both directions of a connection hash alike."""
KEYS = {
    "microsoft": DEFAULT_KEY,
    "symmetric": SYMMETRIC_KEY,
    "mlx5": bytes.fromhex("2cc681d15bdbf4f7fca28319db1a3e946b9e38d92c9c03d1ad9944a7d9563d59063c25f3fc1fdc2a"),
    "i40e": bytes.fromhex(
        "4439796bb54c5023b675ea5b124f9f30b8a2c03ddfdc4d02a08c9b334af64a4c05c6fa343958d8557d99583ae138c92e81150366"
    ),
}
"""Published keys by name; mlx5 and i40e are the defaults of DPDK's drivers (mlx5's also that of netvsc and mana)."""
KEY_LENGTHS = (40, 52)
MOST_QUEUES = 128
MOST_ENTRIES = 4096
"""Entries in the largest indirection table."""
INDIRECTION_SIZE = 128

HASH_FIELDS = {"tcp4": "sdfn", "tcp6": "sdfn", "udp4": "sdfn", "udp6": "sdfn", "sctp4": "sd", "sctp6": "sd"}
"""What the hash covers by protocol, in the letters of `ethtool -N DEV rx-flow-hash`: s and d for the
addresses, f and n for bytes 0-1 and 2-3 of the transport header (the ports). An empty word: no hash."""
FIELD_LETTERS = "sdfn"


def parse_key(text: str) -> bytes:
    """Return the key that a name of `KEYS` or hexadecimal digits, perhaps with colons, stand for.

    Raises:
        BadInput: neither, or no length of `KEY_LENGTHS`.

    """
    if text in KEYS:
        return KEYS[text]
    parts = text.split(":") if ":" in text else [text[k : k + 2] for k in range(0, len(text), 2)]
    # ethtool takes a byte of one digit, between colons.
    least = 1 if ":" in text else 2
    allowed = f"40 or 52 bytes in hexadecimal, or {', '.join(KEYS)}"
    if not text or not all(least <= len(part) <= 2 and set(part) <= set(hexdigits) for part in parts):
        message = f"key {text!r} is not hexadecimal: {allowed}"
        raise BadInput(message)
    if len(parts) not in KEY_LENGTHS:
        message = f"key {text!r} has {len(parts)} bytes: {allowed}"
        raise BadInput(message)
    return bytes(int(part, 16) for part in parts)


def check_key(key: bytes) -> None:
    """Refuse a key of another length than `KEY_LENGTHS`.

    Raises:
        BadInput: it has another length.

    """
    if len(key) not in KEY_LENGTHS:
        message = f"key {key.hex()!r} has {len(key)} bytes: 40 or 52"
        raise BadInput(message)


def key_text(key: bytes) -> str:
    """Return a key as ethtool writes and takes it."""
    return key.hex(":")


def check_fields(fields: Mapping[str, str]) -> dict[str, str]:
    """Return the fields of every protocol: those given, and `HASH_FIELDS` for the others.

    Raises:
        BadInput: a protocol or a letter that is not hashed here.

    """
    for protocol, letters in fields.items():
        if protocol not in HASH_FIELDS:
            message = f"fields {protocol!r}: the protocols are {', '.join(HASH_FIELDS)}"
            raise BadInput(message)
        if unknown := set(letters) - set(FIELD_LETTERS):
            message = f"fields {protocol}={letters!r}: {min(unknown)!r} is none of s, d, f, n (nothing: no hash)"
            raise BadInput(message)
    return HASH_FIELDS | dict(fields)


def parse_fields(text: str) -> dict[str, str]:
    """Return the mapping that a text such as `tcp4=sdfn,udp4=sd` stands for.

    Raises:
        BadInput: it has another form.

    """
    fields: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        protocol, equals, letters = part.strip().partition("=")
        if not equals:
            message = f"fields {part!r} has no '=': tcp4=sdfn,udp4=sd and so on"
            raise BadInput(message)
        fields[protocol] = letters
    check_fields(fields)
    return fields


def check_queues(queues: int) -> None:
    """Refuse a number of queues that no card has here.

    Raises:
        BadInput: it is not between 1 and 128.

    """
    if not 1 <= queues <= MOST_QUEUES:
        message = f"{queues} queues: 1 to {MOST_QUEUES} are possible"
        raise BadInput(message)


def check_table(table: Sequence[int], queues: int) -> None:
    """Refuse a table that is no power of two long or names a queue that is not there.

    Raises:
        BadInput: it does.

    """
    check_size(len(table))
    for place, queue in enumerate(table):
        if not 0 <= queue < queues:
            message = f"indirection entry {place} names queue {queue}: there are 0 to {queues - 1}"
            raise BadInput(message)


def check_size(size: int) -> None:
    """Refuse a size of the table that is no power of two: the device takes the low bits of the hash.

    Raises:
        BadInput: it is none, or too large.

    """
    if not 1 <= size <= MOST_ENTRIES or size & (size - 1):
        message = f"an indirection table of {size} entries: a power of two from 1 to {MOST_ENTRIES} is possible"
        raise BadInput(message)


def equal_table(queues: int, size: int = INDIRECTION_SIZE, start: int = 0) -> tuple[int, ...]:
    """Return the table that `ethtool -X DEV start START equal QUEUES` makes: queues in turn."""
    return tuple(start + entry % queues for entry in range(size))


def weight_table(weights: Sequence[int], size: int = INDIRECTION_SIZE, start: int = 0) -> tuple[int, ...]:
    """Return the table that `ethtool -X DEV weight W0 W1 …` makes: a run of entries for each queue, in order.

    Entry i belongs to the first queue whose weights up to and with its own, scaled to the table, exceed i.

    Raises:
        BadInput: a negative weight, only zeros, or more than the table has entries (ethtool refuses these too).

    """
    total = sum(weights)
    words = " ".join(map(str, weights))
    if any(weight < 0 for weight in weights) or total == 0:
        message = f"weight {words}: whole numbers that are not negative, and not all 0"
        raise BadInput(message)
    if total > size:
        message = f"weight {words}: the sum is {total}, the indirection table has {size} entries"
        raise BadInput(message)
    table: list[int] = []
    reached = 0
    for queue, weight in enumerate(weights, start):
        reached += weight
        # The entries below the floor of size * reached / total that no queue before has.
        table += [queue] * (size * reached // total - len(table))
    return tuple(table)


def table_words(table: Sequence[int], queues: int) -> str:
    """Return what follows `ethtool -X DEV` to make this table; `default` where neither `equal` nor `weight` can."""
    if tuple(table) == equal_table(queues, len(table)):
        return f"equal {queues}"
    if list(table) == sorted(table):
        return "weight " + " ".join(str(list(table).count(queue)) for queue in range(queues))
    return "default"


def parse_table(text: str, queues: int, size: int | None = None) -> tuple[int, ...]:
    """Return the table of a text: `equal N`, `weight W0 W1 …`, or queue numbers with commas.

    Args:
        text: what to read.
        queues: queues that may be named.
        size: entries; without, as many as numbers are given, or `INDIRECTION_SIZE`.

    Raises:
        BadInput: it has another form, another size, or names a queue that is not there.

    """
    words = text.replace(",", " ").split()
    kind = words[0] if words else ""
    numbers = words[1:] if kind in ("equal", "weight") else words
    if not numbers or not all(word.isascii() and word.isdigit() for word in numbers):
        message = f"indirection {text!r}: queue numbers with commas between, 'equal N', or 'weight W0 W1 …'"
        raise BadInput(message)
    values = [int(word[:12]) for word in numbers]
    if kind == "equal":
        if len(values) != 1 or values[0] == 0:
            message = f"indirection {text!r}: 'equal' takes one number, 1 at least"
            raise BadInput(message)
        table = equal_table(values[0], INDIRECTION_SIZE if size is None else size)
    elif kind == "weight":
        table = weight_table(values, INDIRECTION_SIZE if size is None else size)
    else:
        table = tuple(values)
        if size is not None and len(table) != size:
            message = f"indirection: {len(table)} entries given for a table of {size}"
            raise BadInput(message)
    check_table(table, queues)
    return table
