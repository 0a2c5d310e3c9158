"""Groups and meters in ovs-ofctl's syntax, both ways."""

from collections.abc import Iterable

from pktpath.control.flow_actions import ActionText, actions_text
from pktpath.control.flow_values import Ports, number
from pktpath.control.flow_words import Word, words
from pktpath.errors import BadInput
from pktpath.switch.groups import TYPES, Group, GroupMod
from pktpath.switch.meters import Band, Meter, MeterConfig
from pktpath.switch.openflow import OfActions
from pktpath.switch.openflow_fields import ALIASES, FIELD_NAMES

METHODS = ("hash", "dp_hash")
_MOST = (1 << 32) - 1


def parse_group(text: str, ports: Ports | None = None, command: str = "add") -> GroupMod:
    """Return what one line of group text asks for; `command` is add, modify, add_or_mod or delete."""
    line = " ".join(text.split())
    try:
        return _group(line, ports, command)
    except BadInput as error:
        said = f"group '{line}': {error}"
        raise BadInput(said) from None


def _group(line: str, ports: Ports | None, command: str) -> GroupMod:
    head, *buckets = line.replace(", bucket=", ",bucket=").split(",bucket=")
    kind = method = ""
    number_of: int | None = None
    everything = False
    fields: tuple[tuple[str, int], ...] = ()
    for word in words(head):
        match word.name, word.value:
            case "group_id", "all" | "ALL":
                everything = True
            case "group_id", str(value):
                number_of = number(value, 0xFFFFFF00, "group_id")
            case "type", str(value):
                kind = value
            case "selection_method", str(value):
                method = value
            case "fields", str(value):
                fields = tuple(_field(name) for name in words(value))
            case _:
                raise _strange(word, "group_id, type, selection_method, fields and bucket")
    if number_of is None and not (everything and command == "delete"):
        said = "must specify a group_id"
        raise BadInput(said)
    if command == "delete":
        return GroupMod("delete", number_of)
    if kind not in TYPES:
        said = f"type={kind}: {', '.join(TYPES)} are what is there" if kind else "must specify a type"
        raise BadInput(said)
    if method not in {"", *METHODS} or (kind != "select" and (method or fields)):
        said = f"selection_method={method}: {' or '.join(METHODS)}, with type=select"
        raise BadInput(said)
    return GroupMod(command, number_of, kind, tuple(_bucket(one, ports, kind) for one in buckets), method, fields)


def _field(word: Word) -> tuple[str, int]:
    name = FIELD_NAMES.get(ALIASES.get(word.name, word.name))
    if name is None or word.value is not None:
        said = f"fields({word.text}): not a field without a value"
        raise BadInput(said)
    return word.name, name.full << name.low + name.field.shift


def _bucket(text: str, ports: Ports | None, kind: str) -> tuple[int | None, int, OfActions]:
    number_of, weight = None, 1
    options, mark, actions = text.partition("actions=")
    rest = []
    for word in words(options):
        match word.name, word.value:
            case "bucket_id", str(value):
                number_of = number(value, 0xFFFFFF00, "bucket_id")
            case "weight", str(value) if kind == "select":
                weight = number(value, 0xFFFF, "weight")
            case "weight" | "watch_port" | "watch_group", _:
                raise _strange(word, "bucket_id, in a select group weight, and actions")
            case _:
                rest.append(word)
    if mark and rest:
        raise _strange(rest[0], "bucket_id, weight and actions")
    return number_of, weight, ActionText(ports, None, None).read(actions if mark else ",".join(word.text for word in rest))


def _strange(word: Word, allowed: str) -> BadInput:
    return BadInput(f"'{word.text}': not there; {allowed} may stand here")


def group_text(group: Group) -> str:
    """Return a line of `dump-groups`."""
    parts = [f" group_id={group.number},type={group.kind}"]
    parts += [f"selection_method={group.method}"] if group.method else []
    names = [name for name, _ in group.fields]
    parts += [f"fields({','.join(names)})" if len(names) > 1 else f"fields={names[0]}"] if names else []
    for bucket in group.buckets:
        weight = f"weight:{bucket.weight}," if group.kind == "select" and bucket.weight != 1 else ""
        parts.append(f"bucket=bucket_id:{bucket.number},{weight}actions={actions_text(bucket.actions)}")
    return ",".join(parts)


def group_stats_text(group: Group, now: float, references: int = 0) -> str:
    """Return a line of `dump-group-stats`; `references` is how many flows send to it."""
    age = f"{int(now - group.created)}.{int((now - group.created) * 1000) % 1000:03d}"
    counts = f"packet_count={group.packets},byte_count={group.size}"
    parts = [f" group_id={group.number},duration={age}s,ref_count={references},{counts}"]
    parts += [f"bucket{place}:packet_count={one.packets},byte_count={one.size}" for place, one in enumerate(group.buckets)]
    return ",".join(parts)


def parse_meter(text: str) -> MeterConfig:
    """Return what one line of meter text says: `meter=1,kbps,burst,band=type=drop,rate=100,burst_size=50`."""
    line = " ".join(text.split())
    try:
        return _meter(line)
    except BadInput as error:
        said = f"meter '{line}': {error}"
        raise BadInput(said) from None


def parse_meter_number(text: str) -> int | None:
    """Return the number that `meter=N` means, None for all."""
    value = text.strip().removeprefix("meter=")
    return None if value == "all" else number(value, 0xFFFF0000, "meter")


def _meter(line: str) -> MeterConfig:
    head, band, rest = line.partition("band")
    number_of, unit = None, ""
    flags: list[str] = []
    for word in words(head):
        match word.name, word.value:
            case "meter", str(value):
                number_of = number(value, 0xFFFF0000, "meter")
            case ("kbps" | "pktps") as name, None if not unit:
                unit = name
            case ("burst" | "stats") as name, None:
                flags.append(name)
            case _:
                raise _strange(word, "meter, kbps or pktps, burst, stats and band")
    if number_of is None or not number_of:
        said = "must specify a meter number from 1"
        raise BadInput(said)
    bands = tuple(_band(one) for one in rest.lstrip("s=").split("type=") if one.strip(", ")) if band else ()
    if not bands:
        said = "must specify a band (band=type=drop,rate=N)"
        raise BadInput(said)
    if any(bool(one.burst) != ("burst" in flags) for one in bands):
        said = "a band has a burst_size where the meter has the flag burst, and nowhere else"
        raise BadInput(said)
    return MeterConfig(number_of, bands, unit == "pktps", tuple(name for name in ("burst", "stats") if name in flags))


def _band(text: str) -> Band:
    kind, *rest = words(text)
    if kind.name != "drop" or kind.value is not None:
        said = f"type={kind.text}: drop is what a band can do here"
        raise BadInput(said)
    rate = burst = 0
    for word in rest:
        match word.name, word.value:
            case "rate", str(value):
                rate = number(value, _MOST, "rate")
            case "burst_size", str(value):
                burst = number(value, _MOST, "burst_size")
            case _:
                raise _strange(word, "rate and burst_size")
    if not rate:
        said = "must specify a rate above 0"
        raise BadInput(said)
    return Band(rate, burst)


def meters_text(meters: Iterable[Meter]) -> str:
    """Return what `dump-meters` prints, without the line about the reply."""
    blocks = []
    for meter in meters:
        config = meter.config
        flags = " ".join(["pktps" if config.packets else "kbps", *config.flags])
        bands = [f"type=drop rate={one.rate}" + (f" burst_size={one.burst}" if one.burst else "") + "\n" for one in config.bands]
        blocks.append(f"meter={config.number} {flags} bands=\n" + "".join(bands))
    return "\n".join(blocks)


def meter_stats_text(meters: Iterable[Meter], now: float, references: int = 0) -> str:
    """Return what `meter-stats` prints, without the line about the reply."""
    blocks = []
    for meter in meters:
        age = f"{int(now - meter.created)}.{int((now - meter.created) * 1000) % 1000:03d}"
        counts = f"packet_in_count:{meter.packets} byte_in_count:{meter.size}"
        bands = [f"{place}: packet_count:{packets} byte_count:{size}\n" for place, (packets, size) in enumerate(meter.dropped)]
        head = f"meter:{meter.config.number} flow_count:{references} {counts} duration:{age}s bands:\n"
        blocks.append(head + "".join(bands))
    return "\n".join(blocks)
