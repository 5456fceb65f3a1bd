"""The search form: it asks what the command line asks, says what is wrong, and loses nothing that was typed. Pure."""

import argparse
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from jupyter_hpcsec.audit.question import Question
from jupyter_hpcsec.cli import audit as command
from jupyter_hpcsec.console.views import search as view

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
ASKED = {
    "user": "alice", "session": "4bf9", "server": "lab", "job": "77", "node": "n1", "source": "192.0.2.7",
    "path": "data/*", "kind": "file.*", "rule": "access.*", "decision": "refused", "trust": "node",
    "since": "2026-01-02", "until": "2026-01-31", "text": "cohort genomes",
}  # fmt: skip


def options() -> dict[str, argparse.Action]:
    """Of ``hpcsec audit query``: those that ask something."""
    parser = argparse.ArgumentParser(add_help=False)
    command._add_question(parser)
    return {action.dest: action for action in parser._actions}


def test_the_form_and_the_command_line_ask_the_same() -> None:
    # pages and files take the limit's place, a check box is the order's
    assert (
        {*options(), "limit"}
        == {*(field.name for field in view.FIELDS), "newest", "limit"}
        == {*ASKED, "newest", "limit"}
    )
    assert set(Question.__dataclass_fields__) - {"start", "end"} == set(options())
    for field in view.FIELDS:
        assert tuple(options()[field.name].choices or ()) == field.choices, field.name
    parser = argparse.ArgumentParser()
    command._add_question(parser)
    words = [word for name, value in ASKED.items() for word in (f"--{name}", value)]
    by_command = command._question(parser.parse_args([*words, "--newest"]))
    by_form = view.form({name: [value] for name, value in {**ASKED, "newest": "1"}.items()}, NOW)
    assert by_form.is_right and replace(by_form.question, limit=by_command.limit) == by_command


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("since", "yesterday", "is no time: a day (2026-01-31)"),
        ("since", "999999d", "is no time"),
        ("until", "9999-12-31", "is no time"),
        ("since", "0001-01-01T00:00+10:00", "is no time"),
        ("session", "xyz", "digits and the letters a to f"),
        ("decision", "maybe", "no 'maybe' here: choose allowed or refused"),
        ("trust", "me", "choose gateway or hub or node"),
        ("path", "x" * 1500, "At most 1000 characters; these are 1500."),
        ("text", "one " * 30, "At most 20 words; these are 30."),
        ("kind", "file\u202e.read", "written out here"),
    ],
)
def test_what_is_wrong_is_said_beside_its_field_and_everything_typed_stays(name: str, value: str, said: str) -> None:
    sent = {"user": "alice", "newest": "1", name: value}
    found = view.form({each: [text] for each, text in sent.items()}, NOW)
    fields = {field.name: field for field in found.fields}
    assert not found.is_right and [field.name for field in found.fields if field.error] == [name]
    assert said in fields[name].error and found.wrong == (fields[name].label,)
    assert fields[name].value == value.strip().replace("\u202e", "\\u202e")
    assert fields["user"].value == "alice" and found.question.newest


def test_a_time_that_ends_before_it_begins_finds_nothing_and_is_said() -> None:
    for since, until in (("2026-02-01", "2026-01-31"), ("1h", "2h"), ("2026-02-01T10:00", "2026-02-01T10:00")):
        found = view.form({"since": [since], "until": [until]}, NOW)
        assert found.wrong == ("Until",), (since, until)
    assert view.form({"since": ["2026-01-31"], "until": ["2026-01-31"]}, NOW).is_right


def test_where_nothing_answers_it_is_said_what_to_try() -> None:
    assert "no kind file.download" in " ".join(view.advice(Question(kind="file.download")))
    assert "ask Words" in " ".join(view.advice(Question(path="cohort.csv")))
    assert "UTC" in " ".join(view.advice(Question(since="2026-01-01T00:00:00")))
    assert len(view.advice(Question(kind="file.downloaded", path="data/*"))) == 1
