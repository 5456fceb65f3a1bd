"""The whole ``hpcsec`` parser, every subcommand with its arguments, for ``cli.md``.

The command itself imports one subcommand's module only, so that it starts fast.
"""

import argparse
import importlib

from jupyter_hpcsec.cli.main import COMMANDS


def parser() -> argparse.ArgumentParser:
    """What sphinx-argparse prints."""
    whole = argparse.ArgumentParser(prog="hpcsec", description="A secure gateway for Jupyter on HPC clusters.")
    whole.add_argument("--version", action="store_true", help="print the version")
    commands = whole.add_subparsers(metavar="COMMAND", required=True)
    for name, help_text in COMMANDS.items():
        command = commands.add_parser(name, help=help_text, description=help_text)
        importlib.import_module(f"jupyter_hpcsec.cli.{name}").add_arguments(command)
    return whole
