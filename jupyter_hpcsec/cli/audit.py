"""``hpcsec audit``: read, search, verify and export the audit record."""

import argparse
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from jupyter_hpcsec.audit.index import Question
from jupyter_hpcsec.audit.kinds import KINDS, schema
from jupyter_hpcsec.config import DEFAULT_ADMIN_SOCKET
from jupyter_hpcsec.ops.audit import proving, reading, render

DEFAULT_DIRECTORY = "/var/lib/hpcsec/audit"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions and their options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    common, access, asked, shape = (argparse.ArgumentParser(add_help=False) for _ in range(4))
    common.add_argument(
        "--directory",
        type=Path,
        default=Path(os.environ.get("HPCSEC_AUDIT_DIRECTORY") or DEFAULT_DIRECTORY),
        help="the record (default: $HPCSEC_AUDIT_DIRECTORY, or %(default)s)",
    )
    access.add_argument(
        "--socket",
        type=Path,
        default=Path(os.environ.get("HPCSEC_ADMIN_SOCKET") or DEFAULT_ADMIN_SOCKET),
        help="where the gateway records what is read (also HPCSEC_ADMIN_SOCKET; default: %(default)s)",
    )
    access.add_argument(
        "--unrecorded", action="store_true", help="where no gateway runs: read all the same, off the record"
    )
    _add_question(asked)
    shape.add_argument("--format", choices=render.FORMATS, default="table", help="default: %(default)s")
    about = [common, access]
    actions.add_parser("query", parents=[*about, asked, shape], help="events that answer a question")
    tail = actions.add_parser("tail", parents=[*about, asked, shape], help="the newest events")
    tail.add_argument("-n", "--lines", type=int, default=10, help="so many (default: %(default)s)")
    tail.add_argument("-f", "--follow", action="store_true", help="go on with those that come")
    show = actions.add_parser("show", parents=about, help="one event with its proof")
    show.add_argument("event", help="its number in the log, or its id")
    show.add_argument("--with-values", action="store_true", help="its sealed values too")
    _add_verify(actions.add_parser("verify", parents=[common], help="whether the record is what was recorded"))
    export = actions.add_parser("export", parents=[*about, asked], help="a bundle that verifies by itself")
    export.add_argument("destination", type=Path, help="a new directory, or a new file that ends with .tar")
    export.add_argument("--with-values", action="store_true", help="sealed values too")
    actions.add_parser("reindex", parents=[common], help="make the index anew from the record")
    shred = actions.add_parser("shred", parents=about, help="destroy a sealed value; the proofs still hold")
    shred.add_argument("event", help="the event's number in the log, or its id")
    shred.add_argument("name", help="the value's name")
    shred.add_argument("--reason", required=True, help="why; it is recorded")
    kinds = actions.add_parser("schema", help="the JSON Schema of a kind of event, or of all")
    kinds.add_argument("kind", nargs="?", choices=sorted(KINDS), metavar="KIND")


def _add_question(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("question", "a * at the end asks for what begins so")
    for name in ("user", "session", "server", "job", "node", "source", "path", "kind", "rule"):
        group.add_argument(f"--{name}", default="")
    group.add_argument("--decision", choices=("allowed", "refused"), default="")
    group.add_argument("--trust", choices=("gateway", "hub", "node"), default="", help="whose word it is")
    group.add_argument("--since", default="", help="a day, an ISO 8601 time (UTC), or 90m, 6h, 3d ago")
    group.add_argument("--until", default="", help="likewise; a day is included")
    group.add_argument("--text", default="", help="words that stand in it")
    group.add_argument("--limit", type=int, default=1000, help="at most so many (default: %(default)s)")
    group.add_argument("--newest", action="store_true", help="the newest first")


def _add_verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--key", default="", help="the log's public key, as you got it by another way")
    parser.add_argument(
        "--checkpoints", type=Path, help="the second place (default: audit-checkpoints beside the record)"
    )
    parser.add_argument("--no-checkpoints", action="store_true", help="without it: a roll-back can't be seen")
    parser.add_argument("--since", type=Path, help="a checkpoint that you kept: the log has to begin with that one's")
    parser.add_argument("--event", default="", help="only this event: its number or its id")
    parser.add_argument("--no-index", action="store_true", help="leave the index out")
    parser.add_argument("--processes", type=int, default=0, help="read it by so many (default: as many as cores)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Do it; 1 where something does not hold."""
    if args.action == "schema":
        made = schema(args.kind) if args.kind else {kind: schema(kind) for kind in sorted(KINDS)}
        print(json.dumps(made, indent=1))
        return 0
    progress = proving.Bar(sys.stderr)
    if args.action == "verify":
        return _verify(args, progress)
    record = reading.Record(args.directory)
    if args.action == "reindex":
        print(f"{record.reindex(progress)} events are in the index.")
        return 0
    if args.action == "shred":
        leaf = reading.shred(record, args.event, args.name, args.reason, args.socket, progress)
        print(f"The value {args.name} of event {leaf} is destroyed.")
        return 0
    teller = reading.Teller(args.socket, args.unrecorded, proving.say)
    if args.action == "show":
        shown = reading.show(record, args.event, teller, progress, with_values=args.with_values)
        print(json.dumps(shown, indent=1))
        return 0
    return _ask(args, record, teller, progress)


def _ask(args: argparse.Namespace, record: reading.Record, teller: reading.Teller, progress: proving.Bar) -> int:
    question = _question(args)
    if args.action == "export":
        number = reading.export(record, question, args.destination, teller, progress, with_values=args.with_values)
        print(f"{number} events are in {args.destination}; verify.py in it says whether they hold.")
    elif args.action == "query":
        for line in render.lines(reading.query(record, question, teller, progress), args.format):
            print(line)
    else:
        for shown in reading.tail(record, question, args.lines, teller, follow=args.follow):
            print(render.line(shown, args.format), flush=True)
    return 0


def _question(args: argparse.Namespace) -> Question:
    now = datetime.now(UTC)
    names = ("user", "session", "server", "job", "node", "source", "path", "kind", "rule", "decision", "trust", "text")
    return Question(
        **{name: getattr(args, name) for name in names},
        since=reading.parse_time(args.since, now) if args.since else "",
        until=reading.parse_time(args.until, now, is_end=True) if args.until else "",
        limit=args.limit,
        newest=args.newest,
    )


def _verify(args: argparse.Namespace, progress: proving.Bar) -> int:
    if args.event:
        print(proving.one(args.directory, args.event, args.key, progress))
        return 0
    made = proving.whole(
        args.directory,
        key=args.key,
        checkpoints=None if args.no_checkpoints else args.checkpoints or args.directory.parent / "audit-checkpoints",
        since=args.since,
        with_index=not args.no_index,
        progress=progress,
        processes=args.processes,
    )
    print(json.dumps(render.report_json(made), indent=1) if args.json else render.report(made))
    return 0 if made.holds else 1
