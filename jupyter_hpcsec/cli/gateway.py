"""``hpcsec gateway``: run the gateway of a deployment."""

import argparse
from pathlib import Path

from jupyter_hpcsec.hub import gateway_service


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's arguments."""
    parser.add_argument(
        "--config",
        type=Path,
        default=Path("/etc/hpcsec/hpcsec_gateway_config.py"),
        help="configuration file (default: %(default)s); see hub_config/hpcsec_gateway_config.py",
    )


def run(args: argparse.Namespace) -> int:
    """Serve until a signal says to stop."""
    return gateway_service.run(args.config)
