"""``hpcsec project``: the registry of projects, by the gateway's admin socket; for root and the gateway's user."""

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

from jupyter_hpcsec.cli.options import add_socket
from jupyter_hpcsec.ops import projects
from jupyter_hpcsec.tunnel.admin import AdminClient


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions and their options."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print JSON")
    add_socket(common)
    changing = argparse.ArgumentParser(add_help=False)
    changing.add_argument(
        "--on-behalf",
        default="",
        metavar="NAME",
        help="who of the project office decided this, by their name at the hub (run as the gateway's user); default: "
        "the account that runs the command",
    )
    one = argparse.ArgumentParser(add_help=False)
    one.add_argument("project", metavar="ID", help="the project's short name")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    listing = actions.add_parser("list", parents=[common], help="all projects, closed ones too")
    listing.add_argument("--due", type=int, metavar="DAYS", help="only those whose review is due in so many days")
    actions.add_parser("show", parents=[common, one], help="everything about one project")
    proposing = actions.add_parser(
        "propose",
        parents=[common, changing, one],
        help="a new project, or other terms for one, which takes its approval away",
    )
    proposing.add_argument("--title", required=True, help="one line")
    proposing.add_argument("--purpose", required=True, help="what it is for, as those who approve it have to know")
    proposing.add_argument("--owner", required=True, metavar="NAME", help="who answers for it, by their hub name")
    for option, what in (("user", "a user"), ("group", "a group"), ("path", "a data path")):
        proposing.add_argument(
            f"--{option}", action="append", default=[], metavar=option.upper(), help=f"{what}; may be given again"
        )
    proposing.add_argument("--account", default="", help="the batch system's account that its jobs are charged to")
    approving = actions.add_parser("approve", parents=[common, changing, one], help="sessions may begin, until a day")
    approving.add_argument("--review-on", required=True, metavar="YYYY-MM-DD", help="the last day")
    approving.add_argument(
        "--revision", type=int, default=0, metavar="N", help="what was read, by `show`; refused if it is another by now"
    )
    renewing = actions.add_parser("renew", parents=[common, changing, one], help="the review was made: another day")
    renewing.add_argument("--review-on", required=True, metavar="YYYY-MM-DD", help="the last day")
    renewing.add_argument("--reason", default="", metavar="TEXT", help="what the review found; recorded")
    members = actions.add_parser("members", parents=[common, changing, one], help="let members come and go")
    for verb in ("add", "remove"):
        for kind in ("user", "group"):
            members.add_argument(
                f"--{verb}-{kind}", action="append", default=[], metavar=kind.upper(), help="may be given again"
            )
    closing = actions.add_parser("close", parents=[common, changing, one], help="no session of it begins any more")
    closing.add_argument("--reason", required=True, metavar="TEXT", help="why; recorded")
    importing = actions.add_parser("import", parents=[common, changing], help="propose and approve what a file lists")
    importing.add_argument("file", type=Path, metavar="FILE", help="YAML, as docs/admins/projects.md shows")
    importing.add_argument("--check", action="store_true", help="only say whether the file can be used")


def run(args: argparse.Namespace) -> int:
    """Do it; errors of the gateway are raised as they come."""
    client = AdminClient(args.socket)
    if args.action == "list":
        answer = asyncio.run(client.projects())
        if args.due is not None:
            answer["projects"] = [p for p in answer["projects"] if _is_due(p, args.due)]
        print(json.dumps(answer, indent=2) if args.json else projects.as_table(answer["projects"]))
    elif args.action == "import":
        entries = projects.read_list(args.file)
        if args.check:
            print(f"{args.file}: {len(entries)} projects, all of which can be used.")
            return 0
        done = asyncio.run(projects.import_list(client, entries, on_behalf=args.on_behalf))
        print(json.dumps(done, indent=2) if args.json else "\n".join(done))
    else:
        project = asyncio.run(_one(client, args))
        print(json.dumps(project, indent=2) if args.json else projects.as_facts(project))
    return 0


def _is_due(project: dict[str, Any], days: int) -> bool:
    return project["state"] in ("open", "expired") and project["days_left"] <= days


async def _one(client: AdminClient, args: argparse.Namespace) -> dict[str, Any]:
    if args.action == "show":
        return await client.project_show(args.project)
    who: dict[str, Any] = {"on_behalf": args.on_behalf, "as_office": True}
    match args.action:
        case "propose":
            return await client.project_propose(
                args.project,
                title=args.title,
                purpose=args.purpose,
                owner=args.owner,
                users=args.user,
                groups=args.group,
                paths=args.path,
                account=args.account,
                **who,
            )
        case "approve":
            return await client.project_approve(args.project, args.review_on, revision=args.revision, **who)
        case "renew":
            return await client.project_renew(args.project, review_on=args.review_on, reason=args.reason, **who)
        case "members":
            return await client.project_members(
                args.project,
                add_users=args.add_user,
                remove_users=args.remove_user,
                add_groups=args.add_group,
                remove_groups=args.remove_group,
                **who,
            )
        case "close":
            return await client.project_close(args.project, args.reason, **who)
        case _:
            raise AssertionError(f"BUG: action {args.action!r}")
