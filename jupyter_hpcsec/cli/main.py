"""Entry point of the ``hpcsec`` command.

Each subcommand is one module of this package with ``add_arguments(parser)`` and ``run(args) -> int``. Only the module
of the subcommand that was asked for is imported, so that ``hpcsec`` starts fast and needs nothing it does not use.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from jupyter_hpcsec import __version__
from jupyter_hpcsec.errors import HpcsecError

COMMANDS = {
    "quickstart": "try it: hub, gateway, tunnel and JupyterLab on this computer",
    "gateway": "run the gateway (the hub host's end of the tunnel)",
    "session": "list, show and end sessions",
    "project": "propose, approve, renew and close projects, which sessions belong to",
    "keys": "list and rotate the gateway's keys",
    "audit": "read, search, verify and export the audit record",
    "gpu": "what runs on the GPUs, and what the watch says of it",
    "metrics": "print the gateway's metrics, as Prometheus reads them",
    "console": "run the security console (a service of JupyterHub)",
    "access": "check, explain and compare access policies",
    "doctor": "say which hop is broken and how to mend it",
    "cluster": "the development cluster: a real Slurm on this computer (root)",
    "attack": "try to escape from the session that this is run in, and say what came of it",
    "bench": "measure, as ratios within one run",
}


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """The parser; with ``command`` given, that subcommand's own arguments are added."""
    parser = argparse.ArgumentParser(prog="hpcsec", description="A secure gateway for Jupyter on HPC clusters.")
    parser.add_argument("--version", action="version", version=f"hpcsec {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, help_text in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=help_text, description=help_text)
        if name == command:
            importlib.import_module(f"jupyter_hpcsec.cli.{name}").add_arguments(subparser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; 0 when it held, 1 when it did not, 2 for wrong arguments (as argparse does)."""
    words = list(sys.argv[1:] if argv is None else argv)
    command = next((word for word in words if word in COMMANDS), None)
    try:
        args = build_parser(command).parse_args(words)
        return _run(args)
    except HpcsecError as error:
        print(f"hpcsec {command}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # `hpcsec … | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at Python's own end
        return 1
    except KeyboardInterrupt:
        return 130


def _run(args: argparse.Namespace) -> int:
    status = int(importlib.import_module(f"jupyter_hpcsec.cli.{args.command}").run(args))
    sys.stdout.flush()
    return status


if __name__ == "__main__":
    sys.exit(main())
