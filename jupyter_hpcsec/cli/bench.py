"""``hpcsec bench``: measure, as ratios within one run."""

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path

from jupyter_hpcsec.ops.bench import audit, gpu, gpu_latency, lab, report, sandbox, start, tap, tunnel
from jupyter_hpcsec.ops.bench import console as console_pages
from jupyter_hpcsec.ops.console import Console
from jupyter_hpcsec.ops.quickstart import find_proxy
from jupyter_hpcsec.ops.stopping import Interrupted

HELP = "measure, as ratios within one run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be measured, and how."""
    subjects = parser.add_subparsers(dest="subject", metavar="WHAT", required=True)
    help_text = "the tunnel beside OpenSSH -R and beside no tunnel at all"
    subject = subjects.add_parser("tunnel", help=help_text, description=help_text)
    subject.add_argument("--json", action="store_true", help="print one JSON object")
    subject.add_argument("--hub", action="store_true", help="the browser's path through JupyterHub's proxy as well")
    subject.add_argument("--quick", action="store_true", help="fewer rounds: for a look, not for a report")
    subject.add_argument("--proxy", type=Path, help="configurable-http-proxy (default: found as `quickstart` does)")
    help_text = "what it costs that the gateway follows and records what passes"
    subject = subjects.add_parser("tap", help=help_text, description=help_text)
    subject.add_argument("--json", action="store_true", help="print one JSON object")
    subject.add_argument("--quick", action="store_true", help="fewer rounds: for a look, not for a report")
    help_text = "a server's start beside plain batchspawner with an open port"
    subject = subjects.add_parser("start", help=help_text, description=help_text)
    subject.add_argument("--json", action="store_true", help="print one JSON object")
    subject.add_argument("--rounds", type=int, default=5, help="starts of each way (default: %(default)s)")
    help_text = "JupyterLab's start in a browser, with our extension and without it"
    subject = subjects.add_parser("lab", help=help_text, description=help_text)
    subject.add_argument("--json", action="store_true", help="print one JSON object")
    subject.add_argument("--rounds", type=int, default=15, help="pairs of two visits each (default: %(default)s)")
    help_text = "programs, kernels and files in the sandbox beside the same outside of it"
    subject = subjects.add_parser("sandbox", help=help_text, description=help_text)
    subject.add_argument("--json", action="store_true", help="print one JSON object")
    subject.add_argument("--rounds", type=int, default=9, help="times of each measure (default: %(default)s)")
    help_text = "the audit record: durable events a second, receipts, verification, questions"
    subject = subjects.add_parser("audit", help=help_text, description=help_text)
    subject.add_argument("--json", action="store_true", help="print one JSON object")
    subject.add_argument("--events", type=int, default=20_000, help="so many (default: %(default)s)")
    subject.add_argument("--directory", type=Path, help="on this file system (default: that of temporary files)")
    help_text = "the security console's first pages over a large record"
    subject = subjects.add_parser("console", help=help_text, description=help_text)
    subject.add_argument("--json", action="store_true", help="print one JSON object")
    subject.add_argument("--events", type=int, default=20_000, help="so many (default: %(default)s)")
    subject.add_argument("--directory", type=Path, help="on this file system (default: that of temporary files)")
    help_text = "a tick of the GPU watch: 8 simulated GPUs, 5,000 processes; a kernel's latency with it and without"
    subject = subjects.add_parser("gpu", help=help_text, description=help_text)
    subject.add_argument("--processes", type=int, default=5000, help="on the node (default: %(default)s)")
    subject.add_argument("--per-gpu", type=int, default=1, help="processes on each GPU (default: %(default)s)")
    subject.add_argument(
        "--rounds", type=int, default=10, help="pairs of turns, with the watch and without (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """0 when everything was measured, whatever came out; 1 when something could not be; 130 when stopped."""
    runs = {
        "audit": _run_audit,
        "console": _run_console,
        "gpu": _run_gpu,
        "lab": _run_lab,
        "sandbox": _run_sandbox,
        "start": _run_start,
        "tap": _run_tap,
        "tunnel": _run_tunnel,
    }
    return runs[args.subject](args)


def _run_gpu(args: argparse.Namespace) -> int:
    print(gpu.as_text(gpu.measure(processes=max(8, args.processes), per_gpu=max(1, args.per_gpu))))
    print(gpu_latency.as_text(gpu_latency.measure(rounds=max(1, args.rounds))))
    return 0


def _run_audit(args: argparse.Namespace) -> int:
    measured = audit.run(max(1, args.events), _say, args.directory)
    print(json.dumps(measured.as_json(), indent=1) if args.json else measured.as_text())
    return 0


def _run_console(args: argparse.Namespace) -> int:
    from jupyter_hpcsec.console.measured import pages  # noqa: PLC0415 - JupyterHub takes its time

    made = pages(console_pages.LONG, console_pages.OWNER)
    measured = console_pages.run(max(100, args.events), made, _say, args.directory)
    print(json.dumps(measured.as_json(), indent=1) if args.json else measured.as_text())
    return 0


def _run_sandbox(args: argparse.Namespace) -> int:
    made = asyncio.run(sandbox.run(rounds=max(1, args.rounds), caller=os.environ, say=_say))
    print(json.dumps(made.as_json(), indent=1) if args.json else made.as_text())
    return 0


def _run_lab(args: argparse.Namespace) -> int:
    made = asyncio.run(lab.run(rounds=max(1, args.rounds), caller=os.environ, say=_say))
    print(json.dumps(made.as_json(), indent=1) if args.json else made.as_text())
    return 0


def _run_start(args: argparse.Namespace) -> int:
    console = Console(sys.stderr)
    try:
        made = asyncio.run(start.run(rounds=max(1, args.rounds), console=console, caller=os.environ, say=_say))
    except Interrupted:
        return 130
    print(json.dumps(made.as_json(), indent=1) if args.json else made.as_text())
    return 0


def _run_tunnel(args: argparse.Namespace) -> int:
    proxy = None
    if args.hub:
        found = [str(args.proxy)] if args.proxy else list(find_proxy(os.environ.get("PATH", os.defpath)))
        proxy = found
    try:
        made = asyncio.run(tunnel.run(quick=args.quick, proxy=proxy, say=_say))
    except Interrupted:
        return 130
    print(json.dumps(report.as_json(made), indent=1) if args.json else report.as_text(made))
    return 0


def _run_tap(args: argparse.Namespace) -> int:
    try:
        made = asyncio.run(tap.run(quick=args.quick, say=_say))
    except Interrupted:
        return 130
    print(json.dumps(report.as_json(made), indent=1) if args.json else report.as_text(made))
    return 0


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
