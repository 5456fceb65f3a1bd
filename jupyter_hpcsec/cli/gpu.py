"""``hpcsec gpu``: arguments and output; the work is in ``ops.gpu``."""

import argparse
import json
from pathlib import Path

from jupyter_hpcsec.gpu import launch
from jupyter_hpcsec.ops.gpu import replay, workloads

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


def run(args: argparse.Namespace) -> int:
    """Do it."""
    if args.action == "false-alarms":
        sessions = max(1, args.sessions)
        print(workloads.as_table(workloads.false_alarms(sessions, args.seed), sessions))
        return 0
    settings = launch.parse(json.dumps({"settings": json.loads(args.settings or "{}")})).settings
    for alert in replay.alerts(replay.read(args.file), settings):
        print(json.dumps(replay.as_line(alert), sort_keys=True))
    return 0
