"""``hpcsec audit``: read, search, verify and export the audit record."""

import argparse
import json
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path

from jupyter_hpcsec.audit.kinds import KINDS, schema
from jupyter_hpcsec.audit.question import Question
from jupyter_hpcsec.audit.sinks.lag import states
from jupyter_hpcsec.cli.options import add_record, add_telling
from jupyter_hpcsec.config_forward import DEFAULT_STATE
from jupyter_hpcsec.hub import forward_service
from jupyter_hpcsec.ops.audit import proving, reading, render, sinks, witnessing

DEFAULT_FORWARD_CONFIG = "/etc/hpcsec/hpcsec_forward_config.py"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions and their options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    common, access, asked, shape = (argparse.ArgumentParser(add_help=False) for _ in range(4))
    add_record(common)
    add_telling(access)
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
    _add_witness(actions.add_parser("witness", help="on another host: cosign the log as long as it is what it was"))
    export = actions.add_parser("export", parents=[*about, asked], help="a bundle that verifies by itself")
    export.add_argument("destination", type=Path, help="a new directory, or a new file that ends with .tar")
    export.add_argument("--with-values", action="store_true", help="sealed values too")
    replay = actions.add_parser("replay", parents=about, help="a session as a notebook; its terminals as asciicasts")
    replay.add_argument("session", help="the session's id, or how it begins")
    replay.add_argument("--out", type=Path, metavar="FILE.ipynb", help="default: session-ID.ipynb in this directory")
    actions.add_parser("reindex", parents=[common], help="make the index anew from the record")
    shred = actions.add_parser("shred", parents=about, help="destroy a sealed value; the proofs still hold")
    shred.add_argument("event", help="the event's number in the log, or its id")
    shred.add_argument("name", help="the value's name")
    shred.add_argument("--reason", required=True, help="why; it is recorded")
    forward = actions.add_parser("forward", help="send the events to the configured sinks, until it is stopped")
    forward.add_argument("--config", type=Path, default=Path(DEFAULT_FORWARD_CONFIG), help="default: %(default)s")
    behind = actions.add_parser("sinks", parents=[common], help="how far each sink is behind; 1 where one can't go on")
    behind.add_argument("--state", type=Path, default=Path(DEFAULT_STATE), help="the cursors (default: %(default)s)")
    behind.add_argument("--json", action="store_true", help="print one JSON list")
    retain = actions.add_parser(
        "retain", parents=[access], help="remove what is older; what remains is proved as before"
    )
    retain.add_argument(
        "--older-than", type=_days, default=0, metavar="DAYS", help="events, as 365d; their hashes stay"
    )
    retain.add_argument("--values-older-than", type=_days, default=0, metavar="DAYS", help="sealed values only, as 30d")
    kinds = actions.add_parser("schema", help="the JSON Schema of a kind of event, or of all")
    kinds.add_argument("kind", nargs="?", choices=sorted(KINDS), metavar="KIND")


def _days(text: str) -> int:
    number = text.removesuffix("d")
    if not (number.isascii() and number.isdecimal() and 0 < int(number) <= 36_600):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days, such as 365d")
    return int(number)


def _add_question(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("question", "in path, kind and rule a * at the end asks for what begins so")
    group.add_argument("--session", default="", help="its id, or how that begins")
    for name in ("user", "server", "job", "node", "source", "path", "kind", "rule"):
        group.add_argument(f"--{name}", default="")
    group.add_argument("--decision", choices=("allowed", "refused"), default="")
    group.add_argument("--trust", choices=("gateway", "hub", "node"), default="", help="whose word it is")
    group.add_argument("--since", default="", help="a day, an ISO 8601 time (UTC), or 90m, 6h, 3d ago")
    group.add_argument("--until", default="", help="likewise; a day is included")
    group.add_argument("--text", default="", help="words that stand in it")
    group.add_argument(
        "--limit", type=int, default=1000, help="at most so many (default: %(default)s); an export has to fit"
    )
    group.add_argument("--newest", action="store_true", help="the newest first")


def _add_verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--key", default="", help="the log's public key, as you got it by another way")
    parser.add_argument(
        "--checkpoints", type=Path, help="the second place (default: audit-checkpoints beside the record)"
    )
    parser.add_argument("--no-checkpoints", action="store_true", help="without it: a roll-back can't be seen")
    parser.add_argument("--since", type=Path, help="a checkpoint that you kept: the log has to begin with that one's")
    parser.add_argument("--witness", action="append", default=[], metavar="KEY", help="a witness's public key")
    parser.add_argument("--cosigned", action="append", default=[], type=Path, metavar="FILE", help="what it cosigned")
    parser.add_argument("--event", default="", help="only this event: its number or its id")
    parser.add_argument("--no-index", action="store_true", help="leave the index out")
    parser.add_argument("--processes", type=int, default=0, help="read it by so many (default: as many as cores)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _add_witness(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--state", type=Path, required=True, help="the witness's directory: its key, what it cosigned")
    parser.add_argument("--log-key", required=True, metavar="KEY", help="the log's public key")
    parser.add_argument("--from", dest="place", required=True, help="the record's log/, or the URL where it is served")
    parser.add_argument(
        "--name", default=f"{socket.gethostname()}/witness", help="of its key, where it is new (%(default)s)"
    )
    parser.add_argument(
        "--every", type=float, default=0, metavar="SECONDS", help="look again and again (default: once)"
    )


def run(args: argparse.Namespace) -> int:
    """Do it; 1 where something does not hold."""
    alone = {"schema": _schema, "verify": _verify, "forward": _forward, "sinks": _sinks, "witness": _witness}
    if args.action in alone:
        return alone[args.action](args)
    progress = proving.Bar(sys.stderr)
    if args.action in ("reindex", "shred", "retain"):
        print(_change(args, progress))
        return 0
    record = reading.Record(args.directory)
    teller = reading.Teller(args.socket, args.unrecorded, proving.say)
    if args.action == "show":
        shown = reading.show(record, args.event, teller, progress, with_values=args.with_values)
        print(json.dumps(shown, indent=1))
        return 0
    return _ask(args, record, teller, progress)


def _schema(args: argparse.Namespace) -> int:
    made = schema(args.kind) if args.kind else {kind: schema(kind) for kind in sorted(KINDS)}
    print(json.dumps(made, indent=1))
    return 0


def _witness(args: argparse.Namespace) -> int:
    return witnessing.run(
        directory=args.state,
        name=args.name,
        log_key=args.log_key,
        place=args.place,
        every_s=args.every,
        say=lambda words: print(words, flush=True),
    )


def _forward(args: argparse.Namespace) -> int:
    return forward_service.run(args.config)


def _change(args: argparse.Namespace, progress: proving.Bar) -> str:
    """What changes something; a sentence of what was done."""
    if args.action == "retain":
        return reading.retain(args.socket, args.older_than, args.values_older_than)
    record = reading.Record(args.directory)
    if args.action == "reindex":
        return f"{record.reindex(progress)} events are in the index."
    leaf = reading.shred(record, args.event, args.name, args.reason, args.socket, progress)
    return f"The value {args.name} of event {leaf} is destroyed."


def _ask(args: argparse.Namespace, record: reading.Record, teller: reading.Teller, progress: proving.Bar) -> int:
    if args.action == "replay":
        for path in reading.replay(record, args.session, args.out, teller, progress):
            print(path)
        return 0
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


def _sinks(args: argparse.Namespace) -> int:
    found = states(args.directory, args.state)
    print(json.dumps(sinks.as_json(found), indent=1) if args.json else "\n".join(sinks.table(found)))
    return 1 if any(each.error for each in found) else 0


def _verify(args: argparse.Namespace) -> int:
    progress = proving.Bar(sys.stderr)
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
        witnesses=args.witness,
        cosigned=args.cosigned,
    )
    print(json.dumps(render.report_json(made), indent=1) if args.json else render.report(made))
    return 0 if made.holds else 1
