"""What is recorded, what is taken out of it, and what its user is told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.audit.tap.recording import REDACTED, Level, Recording, pieces, secrets_pattern
from jupyter_hpcsec.audit.values import VALUE_LIMIT, check
from jupyter_hpcsec.errors import Malformed

SECRETS = [
    "AKIA" + "IOSFODNN7EXAMPLE",
    "ghp_" + "a1" * 18,
    "glpat-" + "x" * 20,
    "hf_" + "a" * 34,
    "xoxb-" + "1" * 12,
    "eyJhbGciOi" + "x" * 5 + ".eyJzdWIiOi" + "y" * 5 + "." + "z" * 20,
    "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----",
    "db_password = 'hunter2'".removeprefix("db_"),
    'api_key: "abcdef"',
    "TOKEN=abcdefgh",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_secrets_are_taken_out(secret: str) -> None:
    text = Recording(secrets=secrets_pattern()).sealed("source", f"x = f({secret})\ny = 2\n")
    assert text.redacted == 1 and REDACTED.encode() in text.values["source"]
    assert secret.encode() not in text.values["source"] and text.values["source"].endswith(b"y = 2\n")


@pytest.mark.parametrize("text", ["postgres://me:s3cret@host/db", "curl -H 'Authorization: Bearer abcdefghijklmnop1'"])
def test_secrets_within_a_line(text: str) -> None:
    kept = Recording(secrets=secrets_pattern()).sealed("source", text).values["source"]
    assert b"s3cret" not in kept and b"abcdefghijklmnop1" not in kept


@pytest.mark.parametrize("text", ["x = tokens[0]", "password = input()", "for key in keys: pass", "https://host/a:b@c"])
def test_ordinary_code_stays(text: str) -> None:
    assert Recording(secrets=secrets_pattern()).sealed("source", text).redacted == 0


@pytest.mark.parametrize("pattern", ["(", "a*", "x" * 1001])
def test_a_pattern_that_can_not_be_used(pattern: str) -> None:
    with pytest.raises(Malformed, match="redaction pattern"):
        secrets_pattern([pattern])


def test_the_sites_own_patterns() -> None:
    found = secrets_pattern([r"PROJ-\d+", "(?i)internal"], with_known=False)
    text = Recording(secrets=found).sealed("source", "PROJ-12 Internal token = 'abcdefgh'")
    assert text.values["source"] == b"[redacted] [redacted] token = 'abcdefgh'"
    assert secrets_pattern(with_known=False) is None


def test_no_text_makes_the_patterns_slow() -> None:
    pattern = secrets_pattern()
    assert pattern is not None
    for hostile in ("eyJ" + "a" * 200_000, "-----BEGIN " * 20_000, "password " * 20_000, "://" + "a:" * 100_000):
        pattern.sub("", hostile)  # the time limit of the test is the judge


def test_levels() -> None:
    for level, keeps in ((Level.METADATA, False), (Level.SOURCES, True), (Level.OUTPUTS, True)):
        recording = Recording(level=level)
        text = recording.sealed("source", "x")
        assert (text.values == {"source": b"x"}) is keeps and text.size == 1 and len(text.sha256) == 64
        assert recording.keeps_outputs is (level is Level.OUTPUTS)
        assert ("the code that you run" in recording.sentence()) is keeps
    assert "fingerprinted" in Recording(hashes_files=True).sentence()


@given(st.integers(0, 3 * VALUE_LIMIT))
def test_a_text_is_kept_whole(size: int) -> None:
    parts = pieces("source", bytes(size))
    check(parts)
    assert b"".join(parts.values()) == bytes(size) and next(iter(parts)) == "source"
