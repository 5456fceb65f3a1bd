"""``hpcsec attack``: arguments only; the attempts are in ``jupyter_hpcsec.ops.attack``."""

import argparse
import json
import os
from pathlib import Path

from jupyter_hpcsec.errors import Malformed
from jupyter_hpcsec.ops.attack.discovery import Options, discover
from jupyter_hpcsec.ops.attack.report import as_page, as_text, as_values, holds
from jupyter_hpcsec.ops.attack.runner import LIMIT_S, run_all
from jupyter_hpcsec.ops.attack.suite import ATTEMPTS, select


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """In a session nothing needs to be given; outside of one, targets are named."""
    parser.description = (
        "Tries to escape from the session that it is run in, and says what came of each attempt. It changes nothing "
        "but what it made itself. 0 when something was refused, and nothing is open or failed; else 1."
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument(
        "--only", action="append", default=[], metavar="GROUP", help="a group or an attempt (repeatable)"
    )
    parser.add_argument(
        "--limit", type=float, default=LIMIT_S, metavar="SECONDS", help="for each (default: %(default)g)"
    )
    parser.add_argument("--page", action="store_true", help="try nothing: print the tables of the documentation")
    targets = parser.add_argument_group("targets (default: what the session's own files and /proc name)")
    targets.add_argument(
        "--denied", action="append", default=[], type=Path, metavar="PATH", help="a path that exists and is denied"
    )
    targets.add_argument(
        "--readonly", action="append", default=[], type=Path, metavar="PATH", help="a path that may only be read"
    )
    targets.add_argument("--allowed", type=Path, metavar="DIR", help="where files may be made (default: TMPDIR)")
    targets.add_argument("--pid", action="append", default=[], type=int, help="a process outside")
    targets.add_argument(
        "--service", action="append", default=[], metavar="NAME=PATH", help="where a service's socket is"
    )
    targets.add_argument("--abstract", default="", metavar="NAME", help="an abstract unix socket of a process outside")
    targets.add_argument("--shm", type=int, metavar="ID", help="System V shared memory of a process outside")
    targets.add_argument("--queue", type=int, metavar="ID", help="a System V message queue of a process outside")
    targets.add_argument("--server", default="", metavar="SOCKET|URL", help="a Jupyter server")
    targets.add_argument("--token", default="", help="a token for it")
    targets.add_argument("--root", type=Path, metavar="DIR", help="where its files begin")
    targets.add_argument("--tries", type=int, default=100_000, help="rounds of a race (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """0 when nothing got through, else 1."""
    if args.page:
        print(as_page(ATTEMPTS), end="")
        return 0
    options = Options(
        denied=[path.absolute() for path in args.denied],
        readonly=[path.absolute() for path in args.readonly],
        allowed=args.allowed.absolute() if args.allowed else None,
        pids=args.pid,
        services=dict(_named(text) for text in args.service),
        abstract=args.abstract,
        memory=args.shm,
        queue=args.queue,
        server=args.server,
        token=args.token,
        root=args.root.absolute() if args.root else None,
        tries=args.tries,
    )
    chosen = select(args.only)
    targets, conditions = discover(options, os.environ)
    tried = list(run_all(chosen, targets, conditions, limit_s=args.limit))
    print(json.dumps(as_values(tried, conditions), indent=2) if args.json else as_text(tried, conditions))
    return 0 if holds(tried) else 1


def _named(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not equals or not path:
        raise Malformed(f"--service {text}: expected NAME=PATH")
    return name, Path(path)
