"""`pktpath replay`: what a card and a host would do with a capture, and what each switch is worth."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from pktpath.cli.common import (
    BAD_INPUT,
    DONE,
    different_files,
    json_option,
    print_json,
    progress,
    say,
    steps,
)
from pktpath.cli.compiling import announce_compiling
from pktpath.errors import BadInput

if TYPE_CHECKING:
    from pktpath.lab.replay_traffic import Traffic
    from pktpath.nic.host_types import Costs
    from pktpath.path.compare import Compared
    from pktpath.path.replay_types import Replayed, ReplayOptions

    Run = Callable[[ReplayOptions, str], Replayed]


@click.command(short_help="What a card and a host would do with a capture.")
@click.argument("expression", nargs=-1, metavar="[FILTER]...", callback=lambda _ctx, _param, value: " ".join(value))
@click.option(
    "-r", "--read", "source", metavar="IN", help="Capture to replay (pcap or pcapng, gzip or zstd too); - is standard input."
)
@click.option(
    "--traffic", metavar="RATE,SIZE,…", help="Instead of a capture: 80M,1500[,burst=N][,flows=N][,frames=N][,link=RATE][,udp]."
)
@click.option(
    "-K", "features", nargs=2, multiple=True, metavar="FEATURE on|off", help="Switch a feature of the card: -K gro off -K lro on."
)
@click.option(
    "-C", "coalesce", multiple=True, metavar="LIST", help="When it interrupts: rx-usecs=50,rx-frames=32,adaptive-rx=on."
)
@click.option("--queues", type=int, metavar="N", help="Receive queues, 1 to 128; 8 by default.")
@click.option("--cpus", type=int, metavar="N", help="CPUs; queue q interrupts CPU q modulo N. One a queue by default.")
@click.option("--ring", type=int, metavar="N", help="Descriptors in each ring, a power of two; 1024 by default.")
@click.option("--key", metavar="HEX|NAME", help="RSS key: 40 or 52 bytes, or microsoft (the default), symmetric, mlx5, i40e.")
@click.option("--indirection", metavar="LIST", help="RSS table: 0,1,2,…, 'equal N' (the default) or 'weight W0 W1 …'.")
@click.option("--fields", metavar="LIST", help="What RSS hashes: tcp4=sdfn,udp4=sd,…")
@click.option("--inner/--no-inner", default=None, help="Hash the headers inside of VXLAN, Geneve, GRE and IP in IP.")
@click.option("--nic", metavar="FILE", help="One of pktpath's cards: its settings are the start, its statistics are written.")
@click.option("--receive", type=click.Choice(["napi", "netif_rx"]), default="napi", show_default=True,
              help="How the driver receives: by polling, or as before NAPI.")  # fmt: skip
@click.option("--gro-flush-timeout", type=int, metavar="NS", help="sysfs attribute of the device.")
@click.option("--napi-defer-hard-irqs", type=int, metavar="N", help="sysfs attribute of the device.")
@click.option("--threaded/--no-threaded", default=None, help="Each queue is polled by a thread of its own.")
@click.option("--busy-poll", type=int, metavar="USECS", help="A reader polls by itself, so long after its last frame.")
@click.option("--rps/--no-rps", default=False, help="Spread frames over all CPUs in software.")
@click.option("--rfs/--no-rfs", default=False, help="Send frames to the CPU of their reader, in software.")
@click.option("--budget", type=int, metavar="N", help="Frames in a softirq round; 300.")
@click.option("--budget-usecs", type=int, metavar="N", help="Microseconds in a softirq round; 2000.")
@click.option("--max-backlog", type=int, metavar="N", help="Frames in the backlog of a CPU; 1000.")
@click.option("--weight", type=int, metavar="N", help="Frames in a poll; 64.")
@click.option("--hz", metavar="N", help="Timer ticks in a second: 100, 250, 300, 1000 (the default).")
@click.option(
    "--cost", multiple=True, metavar="LIST", help="What work costs in ns: irq=,poll=,frame=,gro=,stack=,byte=,sum=,ipi=,wake=."
)
@click.option("--calibrate", is_flag=True, help="Measure these costs on this machine first, and print them.")
@click.option("--speed", metavar="N", help="So many times as fast as captured: 2, 0.5, 4/3.")
@click.option("--compare", is_flag=True, help="Also set each switch the other way, and print what it is worth.")
@click.option("--softnet", is_flag=True, help="Print lines of /proc/net/softnet_stat instead of the report.")
@click.option("--html", metavar="OUT", help="Also draw it: one page that needs nothing else.")
@json_option
def replay(source: str | None, traffic: str | None, expression: str, *, as_json: bool, **wishes: Any) -> int:
    r"""Send a capture through the receive path of a host: card, queues, interrupts, polls, GRO, stack.

    The capture's times are the clock and --cost the host's speed; nothing is measured, so the same
    capture and the same options give the same output, to the byte. Prints what each stage did,
    what was dropped where, and what the host's time went into. Take a capture of incoming frames,
    or select them with a filter; without one, --traffic sends frames of one size at a rate.

    \b
    pktpath replay -r trace.pcap
    pktpath replay -r trace.pcap -K gro off -C rx-usecs=50 --queues 4 dst host 10.0.0.1
    pktpath replay -r trace.pcap --speed 20 --compare --html trace.html
    pktpath replay --traffic 80M,1500
    pktpath replay --traffic 8G,1500,burst=16,flows=32 --receive netif_rx
    """
    from pktpath.cli.replay_options import cost_words, options_of, parse_costs, remarks

    costs = parse_costs(wishes["cost"])
    offered = _offered(source, traffic, expression, wishes)
    options = options_of(wishes, costs)
    if wishes["html"] is not None:
        _page_name(wishes["html"], source)
    for line in remarks(options):
        say(f"pktpath: {line}")
    calibrated: list[str] = []
    if wishes["calibrate"]:
        costs, calibrated = _calibrate(wishes["cost"])
        options = options_of(wishes, costs)
        if not as_json:
            for line in [*calibrated, f"--cost {cost_words(costs)}"]:
                click.echo(line)
        if source is None and offered is None:
            if as_json:
                print_json({"cost": costs._asdict(), "calibration": calibrated})
            return DONE
    _goes_together(as_json, wishes)
    announce_compiling()
    run = _from_traffic(offered) if offered else _from_capture(str(source), expression)
    with _page(wishes["html"]) as page:
        done = run(options, "replay")
        gro = _beside_gro(options, done, run, source)
        rows = _compare(options, done, run) if wishes["compare"] else []
        if page is not None:
            _draw(page, done, options, rows, offered.words() if offered else str(source))
    for warning in done.warnings:
        say(f"pktpath: {warning}")
    if wishes["nic"] is not None:
        from pktpath.path.replay_statistics import statistics

        import_module("pktpath.nic.store").save_statistics(wishes["nic"], statistics(done))
    if not done.frames and not as_json and not wishes["softnet"]:
        click.echo(f"0 frames: none of {source} matches {expression}" if expression else f"0 frames: {source} holds none")
        return BAD_INPUT if done.damaged else DONE
    _print(
        done,
        gro,
        options,
        rows,
        as_json=as_json,
        softnet=wishes["softnet"],
        calibrated=calibrated if wishes["calibrate"] else None,
    )
    return BAD_INPUT if done.damaged else DONE


def _goes_together(as_json: bool, wishes: dict[str, Any]) -> None:
    """Refuse to print in two forms at once."""
    if wishes["softnet"] and (as_json or wishes["compare"]):
        message = f"--softnet prints its lines alone: leave out {'--json' if as_json else '--compare'}"
        raise BadInput(message)


def _beside_gro(options: "ReplayOptions", done: "Replayed", run: "Run", source: str | None) -> "Replayed | None":
    """Return what GRO would have done where LRO merged; None where it did not, or the input cannot be read again."""
    if not done.lro or options.netif_rx or source == "-":
        return None
    from dataclasses import replace

    from pktpath.features import request

    card = options.settings
    features = request(card.features, {"rx-lro": False, "rx-gro": True})
    return run(replace(options, settings=replace(card, features=features)), "replay with GRO")


def _offered(source: str | None, traffic: str | None, expression: str, wishes: dict[str, Any]) -> "Traffic | None":
    """Return the traffic that takes the place of a capture, after a look at what does not go together."""
    if source is None and traffic is None:
        if not wishes["calibrate"]:
            message = "-r IN or --traffic RATE,SIZE is missing"
            raise click.UsageError(message, click.get_current_context())
        return None
    if source is not None and traffic is not None:
        message = "-r and --traffic: one of them"
        raise BadInput(message)
    if traffic is not None:
        from pktpath.lab.replay_traffic import parse_traffic

        if expression:
            message = f"{expression}: a filter selects frames of a capture, --traffic sends all"
            raise BadInput(message)
        return parse_traffic(traffic)
    if source == "-" and wishes["compare"]:
        message = "--compare reads the capture once for each switch: give -r a file, not -"
        raise BadInput(message)
    return None


# Runs


def _from_capture(source: str, expression: str) -> "Run":
    from pktpath.path.replay import replay_capture

    def run(options: "ReplayOptions", label: str) -> "Replayed":
        with progress(label, source) as update:
            return replay_capture(source, options, expression=expression, progress=update)

    return run


def _from_traffic(offered: "Traffic") -> "Run":
    from pktpath.path.replay import Replay

    def run(options: "ReplayOptions", label: str) -> "Replayed":
        way = Replay(options)
        sent = 0
        with steps(label, offered.frames, unit="frames") as update:
            for batch in offered.batches():
                sent += int(batch.used[0])
                way.arrive(batch)
                update(sent)
        return way.finish()

    return run


def _compare(options: "ReplayOptions", done: "Replayed", run: "Run") -> "list[Compared]":
    from pktpath.path.compare import alternatives, compare

    total = len(alternatives(options))
    label = ["compare"]

    def tell(number: int, name: str) -> None:
        label[0] = f"compare {number + 1} of {total}: {name}"

    return compare(options, done, lambda other: run(other, label[0]), progress=tell)


def _calibrate(texts: tuple[str, ...]) -> "tuple[Costs, list[str]]":
    """Measure what work costs here; what --cost names stays as it says."""
    from pktpath.cli.replay_options import parse_costs

    def tell(step: int, count: int, label: str) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[Kmeasuring {label} ({step + 1} of {count})")
            sys.stderr.flush()

    announce_compiling()
    measured = import_module("pktpath.lab.calibrate").calibrate(tell)
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
    for line in measured.missing:
        say(f"pktpath: not measured, the default holds: {line}")
    return parse_costs(texts, measured.costs), list(measured.lines)


# Results


def _page_name(target: str, source: str | None) -> None:
    if target == "-":
        message = "--html -: a page goes to a file, standard output has the report"
        raise BadInput(message)
    if source is not None:
        different_files(source, target)


@contextmanager
def _page(target: str | None) -> Iterator[Any]:
    """Open the page before a long run, so that a place that cannot be written is said at once."""
    if target is None:
        with nullcontext() as nothing:
            yield nothing
        return
    from pktpath.port.capture_output import Output

    output = Output(target)
    try:
        yield output
        output.commit()
    except BaseException:
        output.discard()
        raise


def _draw(page: Any, done: "Replayed", options: "ReplayOptions", rows: "list[Compared]", name: str) -> None:
    from pktpath.cli.replay_options import cost_words
    from pktpath.lab.replay_html import page_of

    page.write(memoryview(page_of(done, options, rows, name=name, costs=cost_words(options.costs)).encode()))


def _print(
    done: "Replayed", gro: "Replayed | None", options: "ReplayOptions", rows: "list[Compared]", *, as_json: bool, softnet: bool,
    calibrated: list[str] | None,
) -> None:  # fmt: skip
    from pktpath.cli.replay_text import print_compared, print_replay, softnet_lines

    if as_json:
        from dataclasses import asdict

        result = asdict(done)
        if gro is not None:
            result["losses_of_gro"] = gro.losses
        if rows:
            result["compare"] = [asdict(row) for row in rows]
        if calibrated is not None:
            result |= {"cost": options.costs._asdict(), "calibration": calibrated}
        print_json(result)
    elif softnet:
        for line in softnet_lines(done):
            click.echo(line)
    else:
        print_replay(done, options, gro)
        if rows:
            print_compared(rows)
