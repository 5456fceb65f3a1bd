"""``hpcsec quickstart``: arguments and output; the work is in ``ops.quickstart`` and ``ops.check``."""

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path

from jupyter_hpcsec.ops.check import checked
from jupyter_hpcsec.ops.console import Console
from jupyter_hpcsec.ops.quickstart import Settings, run_demo, serve
from jupyter_hpcsec.ops.stopping import Interrupted

HELP = "try it: hub, gateway, tunnel and JupyterLab on this computer"


def _port(text: str) -> int:
    port = int(text)
    if not 1 <= port <= 65535:
        raise ValueError
    return port


def _count(text: str) -> int:
    count = int(text)
    if not 0 <= count <= 16:
        raise ValueError
    return count


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subcommand's arguments."""
    parser.add_argument("--port", type=_port, help="port for the browser (default: 8000, or a free one)")
    parser.add_argument("--slurm", action="store_true", help="on the development cluster, a real Slurm (root)")
    parser.add_argument(
        "--fake-gpus", type=_count, default=0, metavar="N", help="with N simulated GPUs, to see the watch"
    )
    parser.add_argument("--check", action="store_true", help="no person: log in, run the example, move a file, stop")
    parser.add_argument("--json", action="store_true", help="with --check: print one JSON object on standard output")
    parser.add_argument("--keep-logs", type=Path, metavar="DIR", help="copy the parts' logs to DIR at the end")


def run(args: argparse.Namespace) -> int:
    """0 when it ran and stopped cleanly (and, with ``--check``, all held)."""
    settings = Settings(port=args.port, slurm=args.slurm, keep_logs=args.keep_logs, fake_gpus=args.fake_gpus)
    if args.check:
        report = asyncio.run(checked(settings, Console(sys.stderr), dict(os.environ)))
        print(json.dumps(report.as_json(), indent=1) if args.json else report.as_text())
        return report.status
    console = Console(sys.stdout)
    try:
        asyncio.run(run_demo(settings, console, dict(os.environ), serve))
    except Interrupted:
        return 0
    return 1
