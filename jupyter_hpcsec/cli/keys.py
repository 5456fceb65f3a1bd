"""``hpcsec keys``: list, rotate and drop the gateway's keys."""

import argparse
import asyncio
import json
import os
import time
from dataclasses import asdict
from pathlib import Path

from jupyter_hpcsec.config import DEFAULT_ADMIN_SOCKET
from jupyter_hpcsec.errors import Malformed
from jupyter_hpcsec.ops.keys import authority_pem, describe, drop_tokens, kinds_of, list_keys, rotate_keys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="show every key that is accepted")
    rotating = actions.add_parser(
        "rotate",
        help="make new keys; sessions and queued jobs go on under the old ones",
        description="Make new current keys. Old ones stay accepted until nothing that they signed is valid any more.",
    )
    rotating.add_argument("kind", nargs="?", choices=("token", "authority", "all"), default="all")
    rotating.add_argument(
        "--drop-old",
        action="store_true",
        help="for `rotate token`, after a leak: drop all older token keys now; jobs that wait in the queue lose their "
        "tokens, are ended and shown",
    )
    showing = actions.add_parser("authority", help="print the authority's certificate (PEM), for nodes' helpers")
    for action in (listing, rotating, showing):
        action.add_argument(
            "--socket",
            type=Path,
            default=Path(os.environ.get("HPCSEC_ADMIN_SOCKET", DEFAULT_ADMIN_SOCKET)),
            help="the gateway's admin socket (also HPCSEC_ADMIN_SOCKET; default: %(default)s)",
        )
        action.add_argument(
            "--directory", type=Path, help="where no gateway runs: work on the keys in this directory, as its owner"
        )
        action.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """List or rotate, and say by whom it was done."""
    now = int(time.time())
    if args.action == "authority":
        print(asyncio.run(authority_pem(args.socket, args.directory)), end="")
        return 0
    if args.action == "rotate" and args.drop_old:
        if args.kind != "token":
            raise Malformed(
                "--drop-old drops token keys: `hpcsec keys rotate token --drop-old`. Running sessions stand on their"
                " authority; to drop that, stop the gateway, move its keys away and start it again."
            )
        report = asyncio.run(drop_tokens(args.socket, args.directory, now))
    elif args.action == "rotate":
        report = asyncio.run(rotate_keys(kinds_of(args.kind), args.socket, args.directory, now))
    else:
        report = asyncio.run(list_keys(args.socket, args.directory, now))
    print(json.dumps(asdict(report)) if args.json else describe(report, now))
    return 0
