"""``hpcsec doctor``: arguments only; the checks are in ``jupyter_hpcsec.ops.doctor``."""

import argparse
import json
import os
import sys
from pathlib import Path

from jupyter_hpcsec.config import DEFAULT_ADMIN_SOCKET
from jupyter_hpcsec.ops.doctor import diagnose
from jupyter_hpcsec.ops.doctor.finding import as_text, as_values, holds
from jupyter_hpcsec.ops.doctor.scheduler import SYSTEMS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The hub's side is the default; ``--node`` is for a compute node, inside a job or a session."""
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    parser.add_argument("--node", action="store_true", help="check the compute node's side, from inside a job")
    hub = parser.add_argument_group("on the hub's host")
    hub.add_argument(
        "--socket",
        type=Path,
        default=Path(os.environ.get("HPCSEC_ADMIN_SOCKET", DEFAULT_ADMIN_SOCKET)),
        help="the gateway's admin socket (also HPCSEC_ADMIN_SOCKET; default: %(default)s)",
    )
    hub.add_argument("--public-url", default="http://127.0.0.1:8000/", help="what browsers open (default: %(default)s)")
    hub.add_argument("--proxy-api-url", default="http://127.0.0.1:8001/", help="the proxy's API (default: %(default)s)")
    hub.add_argument("--hub-api-url", help="the Hub API (default: what the gateway uses)")
    hub.add_argument(
        "--scheduler", choices=["auto", *SYSTEMS, "none"], default="auto", help="batch system (default: %(default)s)"
    )
    node = parser.add_argument_group("with --node, outside of a session")
    node.add_argument("--gateway", default="", metavar="HOST:PORT[,...]", help="the gateway (default: the job's own)")
    node.add_argument("--ca-pin", default="", metavar="SHA256", help="its authority's id, as hpcsec keys list shows it")


def run(args: argparse.Namespace) -> int:
    """0 when nothing is red, else 1."""
    if args.node:
        side = "node"
        findings = diagnose.node_side(gateway=args.gateway, ca_pin=args.ca_pin)
    else:
        side = "hub"
        findings = diagnose.hub_side(
            admin_socket=args.socket,
            public_url=args.public_url,
            proxy_api_url=args.proxy_api_url,
            hub_api_url=args.hub_api_url,
            batch_system=args.scheduler,
        )
    if args.json:
        print(json.dumps(as_values(side, findings), indent=2))
    else:
        colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        print(as_text(f"hpcsec doctor, {side} side", findings, colour=colour))
    return 0 if holds(findings) else 1
