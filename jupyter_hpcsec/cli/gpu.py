"""``hpcsec gpu``: arguments and output; the work is in ``ops.gpu``."""

import argparse
import json
import os
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

from jupyter_hpcsec.cli.options import add_record, add_telling
from jupyter_hpcsec.gpu import launch, standin
from jupyter_hpcsec.gpu.node import WHATS, Expected, Numbers, What
from jupyter_hpcsec.ops.gpu import node, replay, spooling, workloads

MODES = {"on": True, "off": False}
COMPUTE_MODES = {"default": 0, "prohibited": 2, "exclusive": 3}
HELP = "what runs on the GPUs, and what the watch says of it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions and their options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    again = actions.add_parser("replay", help="judge recorded samples again: the same samples give the same alerts")
    again.add_argument("file", type=Path, metavar="FILE", help="samples, one JSON object a line")
    again.add_argument("--settings", default="", metavar="JSON", help="other settings than the defaults")
    rates = actions.add_parser("false-alarms", help="how often each rule accuses generated, legitimate work")
    rates.add_argument("--sessions", type=int, default=50, help="of each kind of work (default: %(default)s)")
    rates.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    top = actions.add_parser("top", help="inside the job: what of mine is on its GPUs, by notebook")
    top.add_argument("--once", action="store_true", help="once, instead of until it is interrupted")
    top.add_argument("--interval", type=_seconds, default=2, help="seconds (default: %(default)s)")
    _add_report(actions.add_parser("report", help="GPU hours by user and project, from the audit record"))
    _add_node(actions.add_parser("node", help="root's part on the node, started by slurmd"))


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--since", default="30d", help="a day, an ISO 8601 time, or 90m, 6h, 3d ago (%(default)s)")
    parser.add_argument("--until", default="", help="likewise; a day is included")
    parser.add_argument("--format", choices=("table", "json", "csv"), default="table", help="default: %(default)s")
    add_record(parser)
    add_telling(parser)


def _add_node(parser: argparse.ArgumentParser) -> None:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--numbers", choices=get_args(Numbers), help="what gres.conf's numbers count, where the two orders differ"
    )
    common.add_argument("--maps", type=Path, default=launch.MAPS, help="default: %(default)s")
    common.add_argument("--stand-in", default="", metavar="LIBRARY", help="simulated GPUs, to try it")
    whens = parser.add_subparsers(dest="when", metavar="WHEN", required=True)
    prolog = whens.add_parser("prolog", parents=[common], help="before the job: write which GPUs are its")
    epilog = whens.add_parser("epilog", parents=[common], help="after the job: say what it left")
    epilog.add_argument(
        "--drain",
        type=_whats,
        default=frozenset(),
        metavar="WHAT",
        help=f"drain the node for these findings: {', '.join(WHATS)}, or all (default: for none)",
    )
    epilog.add_argument(
        "--wait", type=_seconds, default=10, help="seconds for processes to let go (default: %(default)s)"
    )
    epilog.add_argument("--persistence", choices=MODES, help="how the site sets persistence mode")
    epilog.add_argument("--compute-mode", choices=COMPUTE_MODES, help="how the site sets the compute mode")
    for part in (prolog, epilog):
        part.add_argument(
            "--spool", type=Path, default=spooling.SPOOL, metavar="DIRECTORY",
            help="where findings wait for the watch to send them (default: %(default)s)",
        )  # fmt: skip
    _add_watch(whens.add_parser("watch", help="while jobs run: root's own watch of all GPUs and jobs"))
    epilog.add_argument("--scontrol", default="/usr/bin/scontrol", metavar="PATH", help="default: %(default)s")


def _add_watch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--gateway", action="append", default=[], metavar="HOST:PORT", help="who is told; may be given again"
    )
    parser.add_argument("--ca", type=Path, metavar="FILE", help="its authority, as hpcsec keys authority prints it")
    parser.add_argument("--node", default="", metavar="NAME", help="this node, as Slurm calls it (default: the host)")
    parser.add_argument("--settings", default="", metavar="JSON", help="other thresholds than the defaults")
    parser.add_argument("--spool", type=Path, default=spooling.SPOOL, metavar="DIRECTORY", help="default: %(default)s")
    parser.add_argument("--maps", type=Path, default=launch.MAPS, help="default: %(default)s")
    parser.add_argument("--interval", type=_seconds, default=10, help="seconds (default: %(default)s)")
    parser.add_argument("--stand-in", default="", metavar="LIBRARY", help="simulated GPUs, to try it")


def _whats(text: str) -> frozenset[What]:
    named = set(WHATS) if text == "all" else set(text.split(","))
    if named - set(WHATS):
        raise argparse.ArgumentTypeError(f"{text!r}: name some of {', '.join(WHATS)}, or all")
    return frozenset(what for what in WHATS if what in named)


def _seconds(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) <= 600):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds up to 600")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Do it."""
    if args.action == "false-alarms":
        sessions = max(1, args.sessions)
        print(workloads.as_table(workloads.false_alarms(sessions, args.seed), sessions))
        return 0
    if args.action in ALONE:
        return ALONE[args.action](args)
    settings = launch.parse(json.dumps({"settings": json.loads(args.settings or "{}")})).settings
    for alert in replay.alerts(replay.read(args.file), settings):
        print(json.dumps(replay.as_line(alert), sort_keys=True))
    return 0


def _watch(args: argparse.Namespace) -> int:
    # root's prolog runs this module at the start of each job, and needs no TLS
    from jupyter_hpcsec.ops.gpu import nodewatch  # noqa: PLC0415

    given = launch.parse(json.dumps({"settings": json.loads(args.settings or "{}")}))
    return nodewatch.run(
        nodewatch.RootWatch(
            node=args.node or nodewatch.node_name(),
            gateways=tuple(args.gateway),
            ca=nodewatch.read_authority(args.ca) if args.ca else b"",
            spool=args.spool,
            maps=args.maps,
            settings=given.settings,
            stand_in=args.stand_in,
            state=os.environ.get(standin.STATE_VARIABLE, ""),
            interval_s=max(1, args.interval),
        )
    )


def _node(args: argparse.Namespace) -> int:
    if args.when == "watch":
        return _watch(args)
    say = lambda words: print(words, file=sys.stderr)  # noqa: E731 - one line of output
    here = node.Node(
        os.environ,
        say,
        tell=lambda event: spooling.keep(event, args.spool, say),
        maps=args.maps,
        stand_in=args.stand_in,
        numbers=args.numbers,
    )
    if args.when == "prolog":
        return here.prolog()
    expected = Expected(
        persistence=MODES[args.persistence] if args.persistence else None,
        compute_mode=COMPUTE_MODES[args.compute_mode] if args.compute_mode else None,
    )
    return replace(here, scontrol=args.scontrol).epilog(expected, args.drain, args.wait)


def _report(args: argparse.Namespace) -> int:
    # root's prolog runs this module at the start of each job, and shall not wait for what reads the record
    from jupyter_hpcsec.ops.audit import proving, reading  # noqa: PLC0415
    from jupyter_hpcsec.ops.gpu import report  # noqa: PLC0415

    now = datetime.now(UTC)
    found = report.hours(
        reading.Record(args.directory),
        reading.Teller(args.socket, args.unrecorded, proving.say),
        proving.Bar(sys.stderr),
        since=reading.parse_time(args.since, now),
        until=reading.parse_time(args.until, now, is_end=True) if args.until else "",
    )
    for line in report.lines(found, args.format):
        print(line)
    if found.left_out:
        proving.say(f"{found.left_out} events say what no node can have seen; they are left out.")
    return 0


def _top(args: argparse.Namespace) -> int:
    from rich.console import Console  # noqa: PLC0415 - as above

    from jupyter_hpcsec.ops.gpu import asking, top  # noqa: PLC0415

    given = launch.parse(os.environ.get(launch.VARIABLE, ""))
    top.show(
        lambda: asking.scan(given.stand_in, given.state),
        Console(highlight=False),
        interval_s=None if args.once else max(1, args.interval),
    )
    return 0


ALONE = {"node": _node, "report": _report, "top": _top}
