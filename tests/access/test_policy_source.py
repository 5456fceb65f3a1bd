"""The YAML that is accepted, and the places that errors name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.access.policy_source import SIZE_LIMIT, Mark, PolicyError, Problem, read
from jupyter_hpcsec.errors import REASON_LIMIT, Malformed
from tests.access.policies import EXAMPLE, FILE


def refused(text: str | bytes) -> PolicyError:
    with pytest.raises(PolicyError) as caught:
        read(text.encode() if isinstance(text, str) else text, FILE)
    return caught.value


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("", "1:1", "empty"),
        ("# nothing but a comment\n", "1:1", "empty"),
        ("a: &x [1]\nb: 2\n", "1:4", "anchor &x"),
        ("a: &x [1]\nb: *x\n", "1:4", "anchor &x"),
        ("b: *x\n", "1:4", "undefined alias"),
        ("a: 1\nb: 2\na: 3\n", "3:1", "'a' stands here twice"),
        ("a: {b: 1, c: 2, b: 3}\n", "1:17", "first stands in line 1"),
        ("a: 1\n<<: {b: 2}\n", "2:1", "plain words"),
        ("a: 1\n? [b]\n: 2\n", "2:3", "plain words"),
        ("a: 1\n2: 3\n", "2:1", "plain words"),
        ("%YAML 1.1\n---\na: yes\n", "1:1", "directive"),
        ("a: 1\n---\nb: 2\n", "2:1", "single document"),
        ("a: !!python/object:os.system x\n", "1:4", "tag !!python/object:os.system"),
        ("a: !mine [1]\n", "1:4", "tag !mine"),
        ("a: !!set {b: }\n", "1:4", "tag !!set"),
        ("a: !!binary aGk=\n", "1:4", "tag !!binary"),
        ("a: 1.5\n", "1:4", "'1.5' is neither"),
        ("a: 2026-11-21\n", "1:4", "'2026-11-21' is neither"),
        ("a: 0x1F\n", "1:4", "not decimal"),
        ("a: 0o17\n", "1:4", "not decimal"),
        ("a: 007\n", "1:4", "not decimal"),
        ("a: 1_000\n", "1:4", "not decimal"),
        (f"a: {'9' * 5000}\n", "1:4", "not decimal"),
        ("a:\nb: 1\n", "1:1", "'a' has no value"),
        ("a: [~]\n", "1:5", "nothing stands here"),
        ("a: [1, 2\nb: 3\n", "2:", "not YAML"),
        ("a: 1\n  b: 2\n", "2:4", "not YAML"),
        ("a: 1\nb: \x01\n", "2:4", "character"),
        (b"a: 1\nb: \xff\n", "2:1", "UTF-8"),
        ("a: " + "[" * 40 + "]" * 40, "1:", "nested too deeply"),
        ("a: " + "[" * 100_000, "1:", "nested too deeply"),
        ("#" * (SIZE_LIMIT + 1), "1:1", "above"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_refusals_name_the_place(text: str | bytes, place: str, words: str) -> None:
    error = refused(text)
    assert str(error).startswith(f"{FILE}:{place}")
    assert words in str(error)
    assert error.problems[0].fix


def test_a_large_file_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jupyter_hpcsec.access.policy_source._compose", None)
    refused(b"a: 1\n" + b"#" * SIZE_LIMIT)


def test_an_alias_bomb_is_not_blown_up() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    assert "anchor" in str(refused("\n".join(lines)))


def test_words_of_yaml_1_1_stay_text() -> None:
    values = read(b"[yes, no, on, off, y, 'true', 12:30:00]", FILE).values
    assert values == ["yes", "no", "on", "off", "y", "true", "12:30:00"]


def test_plain_values_and_their_marks() -> None:
    source = read(EXAMPLE.encode(), FILE)
    assert source.values["rules"][2] == {"who": "user:alice", "allow": {"write": ["/data/genomics/alice"]}}
    assert source.mark(("rules", 2)) == Mark(6, 5)
    assert source.mark(("rules", 2, "allow", "write", 0)) == Mark(6, 45)
    assert source.keys["rules", 2, "allow"] == Mark(6, 29)
    assert source.mark(("rules", 2, "not", "there")) == source.mark(("rules", 2))
    assert source.values["defaults"]["network"]["connect"] == ["hub", 443]


def test_a_byte_order_mark_is_no_key() -> None:
    assert read(b"\xef\xbb\xbfa: 1\n", FILE).values == {"a": 1}


def test_booleans_and_negative_numbers() -> None:
    assert read(b"[true, False, -3, 0]", FILE).values == [True, False, -3, 0]


def test_an_error_counts_the_others_and_is_bounded() -> None:
    problems = [Problem(Mark(n, 1), "x" * 1000, "y") for n in (3, 1, 2)]
    error = PolicyError(FILE, problems)
    assert [problem.mark.line for problem in error.problems] == [1, 2, 3]
    assert len(error.reason) <= REASON_LIMIT
    short = PolicyError(FILE, [Problem(Mark(1, 2), "x", "y"), Problem(Mark(2, 2), "x", "y")])
    assert short.reason == "policy.yaml:1:2: x; y. (1 more: hpcsec access check)"


YAMLISH = st.text(alphabet="ab01 :-?,[]{}&*!|>'\"%#\\\n\t<=@`~._\r\x85\u2028\ufeff", max_size=40)


@given(
    st.binary(max_size=300) | (st.text(max_size=300) | YAMLISH).map(lambda text: text.encode(errors="surrogatepass"))
)
def test_arbitrary_bytes_are_values_or_an_error(content: bytes) -> None:
    try:
        source = read(content, FILE)
    except Malformed as error:
        assert error.reason.startswith(FILE)  # noqa: PT017 - either is right
    else:
        assert source.mark(()).line >= 1
