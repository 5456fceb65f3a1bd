"""``hpcsec metrics``: the gateway's metrics, as Prometheus reads them."""

import argparse
import asyncio

from jupyter_hpcsec.cli.options import add_socket
from jupyter_hpcsec.tunnel.metricsport import fetch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's arguments."""
    add_socket(parser)


def run(args: argparse.Namespace) -> int:
    """Print them."""
    print(asyncio.run(fetch(args.socket)), end="")
    return 0
