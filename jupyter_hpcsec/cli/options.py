"""Options that several commands share: where the gateway answers, where the record stands."""

import argparse
import os
from pathlib import Path

from jupyter_hpcsec.config import DEFAULT_ADMIN_SOCKET
from jupyter_hpcsec.config_forward import DEFAULT_RECORD


def add_socket(parser: argparse.ArgumentParser, what: str = "the gateway's admin socket") -> None:
    """``--socket``, told as ``what``."""
    parser.add_argument(
        "--socket",
        type=Path,
        default=Path(os.environ.get("HPCSEC_ADMIN_SOCKET") or DEFAULT_ADMIN_SOCKET),
        help=f"{what} (also HPCSEC_ADMIN_SOCKET; default: %(default)s)",
    )


def add_record(parser: argparse.ArgumentParser) -> None:
    """``--directory``, the audit record's."""
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path(os.environ.get("HPCSEC_AUDIT_DIRECTORY") or DEFAULT_RECORD),
        help="the record (default: $HPCSEC_AUDIT_DIRECTORY, or %(default)s)",
    )


def add_telling(parser: argparse.ArgumentParser) -> None:
    """Whom to tell that the record is read, and that nobody can be told."""
    add_socket(parser, "where the gateway records what is read")
    parser.add_argument(
        "--unrecorded", action="store_true", help="where no gateway runs: read all the same, off the record"
    )
