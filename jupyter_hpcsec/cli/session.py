"""``hpcsec session``: list, show and end sessions, by the gateway's admin socket."""

import argparse
import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jupyter_hpcsec.tunnel.admin import AdminClient

DEFAULT_SOCKET = "/run/hpcsec/admin.sock"
COLUMNS = ("id", "state", "user", "server", "job_id", "node", "created_at", "ends_at")
TIMES = ("created_at", "ends_at", "ended_at")


def default_socket() -> Path:
    """Where the gateway's admin socket is expected."""
    return Path(os.environ.get("HPCSEC_ADMIN_SOCKET") or DEFAULT_SOCKET)


def _session_id(text: str) -> str:
    session_id = text.strip().lower()
    if len(session_id) != 32 or not set(session_id) <= set("0123456789abcdef"):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no session id: 32 hexadecimal digits, as `hpcsec session list` prints"
        )
    return session_id


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions and their options."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print JSON")
    common.add_argument(
        "--socket",
        type=Path,
        default=default_socket(),
        metavar="PATH",
        help="the gateway's admin socket (default: $HPCSEC_ADMIN_SOCKET, or %(default)s)",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", parents=[common], help="all sessions that have not ended")
    show = actions.add_parser("show", parents=[common], help="everything about one session")
    show.add_argument("id", type=_session_id, metavar="ID")
    end = actions.add_parser("end", parents=[common], help="revoke a session and cut its connections at once")
    end.add_argument("id", type=_session_id, metavar="ID")
    end.add_argument("--reason", required=True, metavar="TEXT", help="why; the user sees it and it is logged")


def run(args: argparse.Namespace) -> int:
    """Do it; errors of the gateway are raised as they come."""
    client = AdminClient(args.socket)
    match args.action:
        case "list":
            sessions = asyncio.run(client.sessions())
            print(json.dumps(sessions, indent=2) if args.json else _table(sessions))
        case "show":
            session = asyncio.run(client.show(args.id))
            print(json.dumps(session, indent=2) if args.json else _facts(session))
        case "end":
            asyncio.run(client.end(args.id, args.reason))
            answer = {"id": args.id, "ended": True, "reason": args.reason}
            print(json.dumps(answer, indent=2) if args.json else f"Session {args.id} is ended.")
        case _:
            raise AssertionError(f"BUG: action {args.action!r}")
    return 0


def _shown(name: str, value: Any) -> str:
    if name in TIMES and isinstance(value, int):
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = value if isinstance(value, str) else json.dumps(value)
    # Names come from users and nodes; none may send codes to the terminal of whoever lists them.
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text) or "-"


def _table(sessions: Sequence[Mapping[str, Any]]) -> str:
    rows = [COLUMNS, *(tuple(_shown(name, session.get(name, "")) for name in COLUMNS) for session in sessions)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _facts(session: Mapping[str, Any]) -> str:
    width = max(map(len, session), default=0)
    return "\n".join(f"{name.ljust(width)}  {_shown(name, value)}" for name, value in session.items())
