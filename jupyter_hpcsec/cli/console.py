"""``hpcsec console``: run the security console."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's arguments."""
    parser.add_argument(
        "--config",
        type=Path,
        default=Path("/etc/hpcsec/hpcsec_console_config.py"),
        help="configuration file (default: %(default)s); see hub_config/hpcsec_console_config.py",
    )


def run(args: argparse.Namespace) -> int:
    """Serve until a signal says to stop."""
    from jupyter_hpcsec.console import service  # noqa: PLC0415 - JupyterHub's part takes a second

    return service.run(args.config)
