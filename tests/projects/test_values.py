"""Projects as values: what no project can be called or hold, and what one is good for on a day."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from jupyter_hpcsec.access.policy_paths import component_fault
from jupyter_hpcsec.errors import Malformed
from jupyter_hpcsec.projects.values import Project, State, Terms, check_id, check_reason, check_terms

TERMS = Terms(title="Genomes", purpose="Who has which.", owner="alice", users=("bob",), groups=("genomics",))
PROJECT = Project(id="genomics", terms=TERMS, proposed_by="alice", proposed_at=1, authors=("alice",))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "G",
        "1a",
        "-a",
        "a/b",
        "..",
        "a.b",
        "a b",
        "a\n",
        "a;id",
        "$(id)",
        "<b>",
        "a\x00",
        "ä",
        "a" * 33,
        "--wrap=id",
    ],
)
def test_ids_that_are_none(name: str) -> None:
    with pytest.raises(Malformed, match="id is a lower-case letter"):
        check_id(name)


@given(st.from_regex(r"[a-z][a-z0-9_-]{0,31}", fullmatch=True))
def test_an_id_is_one_component_of_a_path(name: str) -> None:
    assert check_id(name) == name
    assert component_fault(name) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"title": ""}, "title"),
        ({"title": "two\nlines"}, "title"),
        ({"title": "x" * 121}, "title"),
        ({"title": "\x1b[2J"}, "title"),
        ({"purpose": "  \n"}, "purpose"),
        ({"purpose": "x" * 1501}, "purpose"),
        ({"purpose": "\u202eevil"}, "purpose"),
        ({"owner": ""}, "owner"),
        ({"owner": "a/b"}, "owner"),
        ({"users": (" bob",)}, "users"),
        ({"groups": ("a\nb",)}, "groups"),
        ({"users": tuple(f"u{n}" for n in range(1001))}, "members"),
        ({"paths": ("data",)}, "paths"),
        ({"paths": ("/data/../etc",)}, "paths"),
        ({"paths": ("/data//x",)}, "paths"),
        ({"paths": ("/data\n",)}, "paths"),
        ({"paths": tuple(f"/d{n}" for n in range(101))}, "paths"),
        ({"account": "a b"}, "account"),
        ({"account": "x\n#SBATCH --uid=0"}, "account"),
        ({"account": "-Aroot"}, "account"),
    ],
)
def test_terms_that_are_refused_name_the_field(change: dict[str, object], said: str) -> None:
    with pytest.raises(Malformed, match=f"^{said}"):
        check_terms(replace(TERMS, **change))


def test_terms_are_put_in_order() -> None:
    messy = replace(TERMS, users=("zoe", "bob", "zoe"), paths=("/b", "/a"), purpose="Two\nlines <script>")
    assert check_terms(messy) == replace(messy, users=("bob", "zoe"), paths=("/a", "/b"))


def test_a_reason_is_a_sentence() -> None:
    for text in ("", " ", "a\nb", "x" * 401):
        with pytest.raises(Malformed):
            check_reason(text)
    assert check_reason("fine") == "fine"


def test_what_a_project_is_good_for() -> None:
    assert PROJECT.state(date(2027, 1, 1)) is State.PROPOSED
    approved = replace(PROJECT, approved_at=2, review_on="2027-06-30")
    assert approved.state(date(2027, 6, 30)) is State.OPEN
    assert approved.state(date(2027, 7, 1)) is State.EXPIRED
    assert replace(approved, closed_at=3).state(date(2027, 1, 1)) is State.CLOSED
    assert (approved.days_left(date(2027, 6, 1)), approved.days_left(date(2027, 7, 2))) == (29, -2)


def test_who_is_a_member() -> None:
    assert not PROJECT.has_member("mallory", frozenset({"bob", "alice"}))
    assert not PROJECT.has_member("genomics", frozenset())
    assert PROJECT.has_member("alice", frozenset()) and PROJECT.has_member("bob", frozenset())
    assert PROJECT.has_member("carol", frozenset({"genomics"}))
