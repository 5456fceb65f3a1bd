"""``hpcsec cluster``: bring the development cluster up, ask it, play failure with it, take it down."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from jupyter_hpcsec.ops.cluster import Cluster
from jupyter_hpcsec.ops.cluster_plan import DEFAULT_NETWORK, DEFAULT_STATE, Cgroup
from jupyter_hpcsec.ops.cluster_system import require_root

HELP = "the development cluster: a real Slurm on this computer (root)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions and their options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, help_text: str) -> argparse.ArgumentParser:
        added = actions.add_parser(name, help=help_text, description=help_text)
        added.add_argument("--state", type=Path, default=DEFAULT_STATE, help=f"its files (default: {DEFAULT_STATE})")
        return added

    up = action("up", "make or mend the cluster; changes nothing when it is well")
    up.add_argument("--environment", type=Path, help="virtual environment for jobs (default: this one, or a built one)")
    up.add_argument("--network", help=f"private IPv4 network of head and nodes (default: {DEFAULT_NETWORK})")
    up.add_argument("--gateway-port", type=int, help="the head's port that nodes may reach (default: 8443)")
    up.add_argument("--process-tracking", choices=[kind.value for kind in Cgroup], help="default: what is found here")
    down = action("down", "end everything; logs and built environments stay")
    down.add_argument("--purge", action="store_true", help="remove these too, and the users that `up` created")
    status = action("status", "each part, green or red, and the fix")
    status.add_argument("--json", action="store_true", help="print one JSON object")
    for name, help_text in (
        ("partition", "cut a node off: drop all its packets in silence"),
        ("heal", "undo `partition`"),
        ("crash", "end all processes of a node at once, as a power failure does"),
    ):
        action(name, help_text).add_argument("node")
    execute = action("exec", "run a command inside all namespaces of a node")
    execute.add_argument("--user", help="as this user (default: root)")
    execute.add_argument("node")
    execute.add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="the command")


def run(args: argparse.Namespace) -> int:
    """Do one action; ``exec`` gives the command's own exit status."""
    require_root()
    if args.action == "up":
        return _up(args)
    cluster = Cluster(args.state)
    if args.action == "status":
        return _status(cluster, as_json=args.json)
    if args.action == "exec":
        words = args.words[1:] if args.words[:1] == ["--"] else args.words
        return subprocess.call(cluster.node_command(args.node, words or ["/bin/bash"], user=args.user))
    if args.action == "down":
        cluster.down(purge=args.purge)
        print("the cluster is down")
        return 0
    {"partition": cluster.partition, "heal": cluster.heal, "crash": cluster.crash}[args.action](args.node)
    return 0


def _up(args: argparse.Namespace) -> int:
    cluster = Cluster(
        args.state,
        network=args.network,
        gateway_port=args.gateway_port,
        environment=args.environment,
        process_tracking=Cgroup(args.process_tracking) if args.process_tracking else None,
    )
    changes = cluster.up(say=lambda words: print(words, file=sys.stderr, flush=True))
    print("the cluster is up" if changes else "nothing to change: the cluster is up")
    print(f"export SLURM_CONF={cluster.slurm_conf}")
    return 0


def _status(cluster: Cluster, *, as_json: bool) -> int:
    status = cluster.status()
    if as_json:
        print(json.dumps(status.as_json(), indent=1))
    elif not status.is_up:
        print("the cluster is down. Fix: hpcsec cluster up")
    else:
        for part in status.parts:
            print(f"{part.state:8}{part.name}{': ' if part.detail else ''}{part.detail}")
            if part.fix:
                print(f"{'':8}fix: {part.fix}")
    return 0 if status.ok else 1
