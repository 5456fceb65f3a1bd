"""``hpcsec access``: arguments only; what is done is in ``jupyter_hpcsec.ops.access_commands``."""

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from jupyter_hpcsec.access.plan import describe
from jupyter_hpcsec.access.policy_schema import schema_text
from jupyter_hpcsec.access.values import Right, Subject
from jupyter_hpcsec.ops import access_commands as commands
from jupyter_hpcsec.ops import access_run
from jupyter_hpcsec.ops.console import Console

EXIT_STATUS = (
    "Exit status: 0 when it holds or is allowed, 1 when it does not or something failed, 2 for wrong arguments."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, (help_text, add, _) in ACTIONS.items():
        add(actions.add_parser(name, help=help_text, description=help_text, epilog=EXIT_STATUS))


def run(args: argparse.Namespace) -> int:
    """Do what was asked for; the exit status is the one that the help names."""
    return ACTIONS[args.action][2](args)


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="the policy")
    _add_json(parser)


def _add_explain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("user", metavar="USER", help="the user's name on the hub")
    parser.add_argument("path", metavar="PATH", help="the path on the node, symbolic links resolved")
    _add_subject(parser)
    _add_policy(parser)
    _add_json(parser)


def _add_plan(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("user", metavar="USER", help="the user's name on the hub")
    parser.add_argument(
        "--rules", action="store_true", help="only what the policy says, without a look at this computer's files"
    )
    _add_subject(parser)
    _add_policy(parser)
    _add_json(parser)


def _add_diff(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("old", type=Path, metavar="OLD", help="the policy before")
    parser.add_argument("new", type=Path, metavar="NEW", help="the policy after")
    parser.add_argument("users", nargs="+", metavar="USER", help="whom to ask for")
    _add_subject(parser)
    _add_json(parser)


def _add_schema(parser: argparse.ArgumentParser) -> None:
    """It has no arguments."""


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--user", required=True, metavar="USER", help="whose rules; root becomes that user first")
    _add_subject(parser)
    _add_policy(parser)
    parser.add_argument("--show", action="store_true", help="say what is enforced (on stderr) before the command runs")
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="what to run")
    parser.epilog = "Exit status: the command's own; 126 with one sentence when its sandbox can't be enforced here."


def _add_subject(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--group",
        action="append",
        default=[],
        dest="groups",
        metavar="GROUP",
        help="a group of the user, beside those that this computer knows; may be given more than once",
    )
    parser.add_argument("--project", default="", help="the project of the session")
    parser.add_argument("--home", default="", help="the home directory (default: the one that this computer knows)")


def _add_policy(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--policy",
        type=Path,
        default=Path(os.environ.get("HPCSEC_POLICY", commands.DEFAULT_POLICY)),
        metavar="FILE",
        help="the policy (also HPCSEC_POLICY; default: %(default)s)",
    )


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _subject(args: argparse.Namespace, user: str) -> Subject:
    return commands.subject_of(user, groups=args.groups, project=args.project, home=args.home)


def _check(args: argparse.Namespace) -> int:
    report = commands.check(args.file)
    print(json.dumps(report.as_json()) if args.json else report.as_text())
    return 0 if report.holds else 1


def _explain(args: argparse.Namespace) -> int:
    found, policy = commands.explain_file(args.policy, _subject(args, args.user), args.path)
    if args.json:
        print(json.dumps(commands.explanation_json(found, policy)))
    else:
        print(commands.explanation_text(found, policy))
    return 1 if found.right is Right.NONE else 0


def _plan(args: argparse.Namespace) -> int:
    resolved = commands.resolve_file(args.policy, _subject(args, args.user))
    if args.rules:
        print(json.dumps(msgspec.to_builtins(resolved)) if args.json else commands.resolved_text(resolved))
    else:
        plan = commands.plan_here(resolved)
        print(json.dumps(msgspec.to_builtins(plan)) if args.json else describe(plan))
    return 0


def _diff(args: argparse.Namespace) -> int:
    found = commands.compare_files(args.old, args.new, [_subject(args, user) for user in args.users])
    if args.json:
        print(json.dumps({"users": [commands.difference_json(one) for one in found]}))
    else:
        print("\n".join(commands.difference_text(one) for one in found))
    return 0


def _run_command(args: argparse.Namespace) -> int:
    command = access_run.words(args.words)
    if not command:
        print("hpcsec access run: no command; write it behind --", file=sys.stderr)
        return 2
    wish = access_run.Run(args.policy, _subject(args, args.user), command, says=args.show)
    return access_run.run(wish, os.environ, Console(sys.stderr))


def _schema(_: argparse.Namespace) -> int:
    print(schema_text(), end="")
    return 0


Action = tuple[str, Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], int]]

ACTIONS: dict[str, Action] = {
    "check": ("load a policy and run its tests, as the gateway does", _add_check, _check),
    "explain": ("say whether a user may use a path, and by which rule and line", _add_explain, _explain),
    "plan": ("show all that the kernel of this computer would enforce for a user", _add_plan, _plan),
    "diff": ("show what one policy gives and takes beside another", _add_diff, _diff),
    "run": ("run a command as a session of a user would, to try a policy", _add_run, _run_command),
    "schema": ("print the JSON Schema of policies, for editors", _add_schema, _schema),
}
"""Name -> help, arguments, what to do."""
