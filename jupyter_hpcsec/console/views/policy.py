"""The Policy page's values: the policy in force line by line, an explanation in sentences, what a form gave. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from jupyter_hpcsec.access.explain import Explanation
from jupyter_hpcsec.access.policy_source import SIZE_LIMIT
from jupyter_hpcsec.access.values import Entry, Right
from jupyter_hpcsec.audit.text import clean
from jupyter_hpcsec.console.compare_worker import Person
from jupyter_hpcsec.errors import Malformed

LINE_LIMIT = 2000
GROUPS = 32
GROUP_LIMIT = 255
PEOPLE = 2000
"""People for whom two policies are compared; those with a session now first."""
VERBS = {Right.NONE: "may do nothing with", Right.READ: "may read", Right.WRITE: "may read and write"}
TONES = {Right.NONE: "bad", Right.READ: "good", Right.WRITE: "good"}
DEEDS = {Right.NONE: "denies", Right.READ: "allows reading", Right.WRITE: "allows reading and writing"}


@dataclass(frozen=True)
class Line:
    """One line of the policy's file."""

    number: int
    text: str


def lines(text: str) -> list[Line]:
    """The file's lines, printable and bounded."""
    return [Line(number, clean(line, LINE_LIMIT)) for number, line in enumerate(text.splitlines(), 1)]


@dataclass(frozen=True)
class Reason:
    """A rule that speaks of the path, and the line where it does."""

    number: int
    who: str
    line: int
    deed: str
    path: str


@dataclass(frozen=True)
class Explained:
    """The answer to "may this person use this path, and why"."""

    user: str
    path: str
    verb: str
    tone: str
    groups: str
    decided: Reason | None
    beside: tuple[Reason, ...]
    others: tuple[str, ...]
    refused: str
    is_advisory: bool
    contact: str
    right: str


def explained(found: Explanation) -> Explained:
    """An explanation in words."""
    return Explained(
        user=found.user,
        path=found.path,
        verb=VERBS[found.right],
        tone=TONES[found.right],
        groups=", ".join(found.groups) or "none",
        decided=_reason(found.entry) if found.entry else None,
        beside=tuple(map(_reason, found.beside)),
        others=found.others,
        refused=found.refused,
        is_advisory=found.enforcement == "advisory",
        contact=found.contact,
        right=str(found.right),
    )


def _reason(entry: Entry) -> Reason:
    return Reason(entry.rule, entry.who, entry.line, DEEDS[entry.right], entry.path)


def groups_of(text: str) -> tuple[str, ...]:
    """Groups as the form has them, with commas between; ``Malformed`` for too many or too long ones."""
    found = tuple(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))
    if len(found) > GROUPS or any(len(name) > GROUP_LIMIT for name in found):
        raise Malformed(f"{GROUPS} groups at most, each of at most {GROUP_LIMIT} characters.")
    return found


def proposed(upload: bytes | None, typed: str) -> str:
    """The policy that the form gave, as a file or typed; ``Malformed`` with a sentence."""
    # 1. One of both.
    if upload and typed.strip():
        raise Malformed("Give a file or write a policy, not both.")
    # 2. The size first.
    content = upload if upload else typed.replace("\r\n", "\n").encode("utf-8", errors="surrogatepass")
    if not content.strip():
        raise Malformed("Choose a file, or write a policy.")
    if len(content) > SIZE_LIMIT:
        raise Malformed(f"A policy has at most {SIZE_LIMIT // 1024} KiB; this has {len(content) // 1024 + 1}.")
    # 3. Text.
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise Malformed(f"A policy is UTF-8 text; byte {exc.start + 1} is none.") from exc


def people(found: Iterable[Mapping[str, Any]]) -> tuple[Person, ...]:
    """Whom the gateway decided for, as the comparison takes them; those with a session now first."""
    made = [
        Person(
            user=str(each["user"]),
            uid=int(each["uid"]),
            gid=int(each["gid"]),
            home=str(each["home"]),
            groups=tuple(map(str, each["groups"])),
            project=str(each["project"]),
            active=bool(each["active"]),
        )
        for each in found
    ]
    return tuple(sorted(made, key=lambda each: (not each.active, each.user)))[:PEOPLE]
