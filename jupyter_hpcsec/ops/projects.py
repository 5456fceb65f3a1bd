"""``hpcsec project``: what is printed of projects, and the import of a list that a site has already.

It changes nothing by itself: each change is asked of the gateway, who decides and records it.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from jupyter_hpcsec.access import policy_source
from jupyter_hpcsec.errors import Malformed, Refused, Unavailable, printable
from jupyter_hpcsec.projects.values import Terms, check_id, check_terms
from jupyter_hpcsec.tunnel.admin import AdminClient

TO_APPROVE = "to be approved by somebody else: let them import it, too (--on-behalf)"
COLUMNS = ("PROJECT", "STATE", "REVIEW", "OWNER", "MEMBERS", "TITLE")


class _Entry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One project of a list. ``review_on``: it is approved until then, by whoever imports what another has imported."""

    id: str
    title: str
    purpose: str
    owner: str
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    account: str = ""
    review_on: str = ""

    def terms(self) -> Terms:
        """What it is to be approved for."""
        fields = {name: getattr(self, name) for name in Terms.__struct_fields__}
        return check_terms(Terms(**fields))


class _List(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    projects: tuple[_Entry, ...]


def read_list(path: Path) -> tuple[_Entry, ...]:
    """The projects of a YAML file; ``Malformed`` says what is wrong with which. The part of YAML that policies have."""
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise Unavailable(f"{path} can't be read: {exc.strerror}.") from exc
    values = policy_source.read(content, str(path)).values
    try:
        entries = msgspec.convert(values, _List).projects
    except msgspec.ValidationError as exc:
        raise Malformed(f"{path}: {exc}.") from exc
    names = [entry.id for entry in entries]
    for entry in entries:
        try:
            check_id(entry.id)
            entry.terms()
        except Malformed as error:
            raise Malformed(f"{path}: project {entry.id[:40]!r}: {error.reason}") from error
        if names.count(entry.id) > 1:
            raise Malformed(f"{path}: the project {entry.id} stands there twice.")
    return entries


async def import_list(client: AdminClient, entries: Sequence[_Entry], *, on_behalf: str) -> list[str]:
    """Propose, and approve what somebody else proposed where a review date stands there; what is in the registry as
    listed stays. What was done, or has to be done by another: nobody approves what they proposed.
    """
    known = {each["id"]: each for each in (await client.projects())["projects"]}
    who: dict[str, Any] = {"on_behalf": on_behalf, "as_office": True}
    done = []
    for entry in entries:
        terms = json.loads(msgspec.json.encode(entry.terms()))
        before = known.get(entry.id)
        said = []
        if before is None or before["terms"] != terms:
            before = await client.project_propose(entry.id, **terms, **who)
            said.append("proposed")
        if entry.review_on and not before["approved_at"]:
            said.append(await _approved(client, entry, who) if not said else TO_APPROVE)
        elif entry.review_on and entry.review_on != before["review_on"]:
            await client.project_renew(entry.id, review_on=entry.review_on, reason="imported", **who)
            said.append(f"renewed until {entry.review_on}")
        done.append(f"{entry.id}: {', '.join(said) or 'unchanged'}")
    return done


async def _approved(client: AdminClient, entry: _Entry, who: dict[str, Any]) -> str:
    try:
        await client.project_approve(entry.id, entry.review_on, **who)
    except Refused as refusal:
        if refusal.rule != "project.four-eyes":
            raise
        return TO_APPROVE
    return f"approved until {entry.review_on}"


def as_table(projects: Sequence[Mapping[str, Any]]) -> str:
    """One line a project."""
    rows = [COLUMNS, *map(_row, projects)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _row(project: Mapping[str, Any]) -> tuple[str, ...]:
    terms = project["terms"]
    members = f"{len(terms['users'])} users, {len(terms['groups'])} groups"
    review = project["review_on"] or "-"
    cells = (project["id"], project["state"], review, terms["owner"], members, terms["title"])
    return tuple(printable(cell, 60) for cell in cells)


def as_facts(project: Mapping[str, Any]) -> str:
    """All of one project, a line each."""
    facts = {**project, **project["terms"]}
    facts.pop("terms")
    width = max(map(len, facts))
    return "\n".join(f"{name.ljust(width)}  {_shown(value)}" for name, value in facts.items() if value not in ("", 0))


def _shown(value: Any) -> str:
    text = " ".join(value.split()) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return printable(text, 2000)
