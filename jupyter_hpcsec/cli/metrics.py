"""``hpcsec metrics``: the gateway's metrics, as Prometheus reads them."""

import argparse
import asyncio
import os
from pathlib import Path

from jupyter_hpcsec.config import DEFAULT_ADMIN_SOCKET
from jupyter_hpcsec.tunnel.metricsport import fetch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's arguments."""
    parser.add_argument(
        "--socket",
        type=Path,
        default=Path(os.environ.get("HPCSEC_ADMIN_SOCKET") or DEFAULT_ADMIN_SOCKET),
        help="the gateway's admin socket (also HPCSEC_ADMIN_SOCKET; default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Print them."""
    print(asyncio.run(fetch(args.socket)), end="")
    return 0
