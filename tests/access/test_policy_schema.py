"""The published schema, and the sentences made of its findings."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from jupyter_hpcsec.access.policy import parse
from jupyter_hpcsec.access.policy_schema import _SENTENCES, PATTERNS, problems, schema_text
from jupyter_hpcsec.access.policy_source import PolicyError, read
from jupyter_hpcsec.access.values import Bind, Enforcement, Right
from tests.access.policies import EXAMPLE, FILE

SCHEMA = json.loads(schema_text())
RULE = "- {who: '*', allow: {read: [/data]}}"


def found(text: str) -> list[str]:
    return [f"{p.mark.line}:{p.mark.column} {p}" for p in problems(read(text.encode(), FILE))]


def policy(rules: str = RULE, more: str = "") -> str:
    return f"version: 1\n{more}\nrules:\n{rules}\n"


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("[]", "1:1", "the policy must be a mapping"),
        ("version: 1", "1:1", "the policy has no 'rules'"),
        ("{}", "1:1", "the policy has no 'version' and 'rules'; add 'version' and 'rules'."),
        (f"rules:\n{RULE}", "1:1", "the policy has no 'version'"),
        (policy().replace("1", "2", 1), "1:10", "version can't be 2; write 1"),
        (policy().replace("1", "true", 1), "1:10", "version can't be True; write 1"),
        ("version: 1\nrules: []", "2:8", "rules is empty"),
        ("version: 1\nrules: {}", "2:8", "rules must be a list"),
        (policy("- {}"), "4:3", "rule 1 has no 'who'"),
        (policy("- {who: '*'}"), "4:3", "rule 1 says nothing about this 'who'; add allow, deny or network"),
        (policy("- {who: '*', alow: {read: [/d]}}"), "4:14", "rule 1 has no key 'alow'; write 'allow'"),
        (policy("- {who: '*', zzz: 1}"), "4:14", "there are allow, deny, network, required, who"),
        (policy("- {who: '*', allow: {}}"), "4:21", "rule 1, allow is empty"),
        (policy("- {who: '*', allow: {exec: [/d]}}"), "4:22", "rule 1, allow has no key 'exec'"),
        (policy("- {who: '*', allow: [/d]}"), "4:21", "rule 1, allow must be a mapping"),
        (policy("- {who: '*', allow: {read: /d}}"), "4:28", "rule 1, allow.read must be a list"),
        (policy("- {who: '*', allow: {read: []}}"), "4:28", "rule 1, allow.read is empty"),
        (policy("- {who: '*', allow: {read: [1]}}"), "4:29", "rule 1, allow.read[1] must be text; write text, quoted"),
        (policy("- {who: '*', allow: {read: ['']}}"), "4:29", "rule 1, allow.read[1] can't be ''; begin it"),
        (policy("- {who: '*', deny: [/d, data]}"), "4:25", "rule 1, deny[2] can't be 'data'; begin it with '/'"),
        (policy("- {who: alice, deny: [/d]}"), "4:9", "rule 1, who can't be 'alice'; write user:NAME"),
        (policy('- {who: "user:*", deny: [/d]}'), "4:9", "rule 1, who can't be 'user:*'; write user:NAME"),
        (policy('- {who: "group:a?", deny: [/d]}'), "4:9", "rule 1, who can't be 'group:a?'; write user:NAME"),
        (policy("- {who: 'user:', deny: [/d]}"), "4:9", "who can't be 'user:'"),
        (policy("- {who: 'user: alice', deny: [/d]}"), "4:9", "who can't be 'user: alice'"),
        (policy("- {who: 'User:alice', deny: [/d]}"), "4:9", "who can't be 'User:alice'"),
        (policy("- {who: 'user:*\\n', deny: [/d]}").replace("'", '"'), "4:9", "who can't be"),
        (policy("- {who: '**', deny: [/d]}"), "4:9", "who can't be '**'"),
        (policy("- {who: '*', network: {}}"), "4:23", "rule 1, network is empty"),
        (
            policy("- {who: '*', network: {bind: all}}"),
            "4:30",
            "network.bind can't be 'all'; write one of none, private",
        ),
        (policy("- {who: '*', network: {connect: [0]}}"), "4:34", "connect[1] is too small (0); write at least 1"),
        (policy("- {who: '*', network: {connect: [65536]}}"), "4:34", "is too large (65536)"),
        (policy("- {who: '*', network: {connect: [https]}}"), "4:34", "write 'hub' or the number of a TCP port"),
        (policy('- {who: "*", network: {connect: ["hub\\n"]}}'), "4:34", "write 'hub' or the number"),
        (policy("- {who: '*', network: {connect: [true]}}"), "4:34", "must be a whole number or text"),
        (policy(more="defaults: {enforcement: none}"), "2:25", "write one of required, advisory"),
        (policy(more="defaults: {minimum_abi: '6'}"), "2:25", "must be a whole number"),
        (policy(more="defaults: {minimum_abi: 0}"), "2:25", "too small"),
        (policy(more='defaults: {contact: "a\\nb"}'), "2:21", "one line"),
        (policy(more='defaults: {contact: "a\\n"}'), "2:21", "one line"),
        (policy(more="defaults: {hide_denied: yes}"), "2:25", "must be true or false"),
        (policy(more="defaults: {}"), "2:11", "defaults is empty"),
        (policy(more="tests: [{user: a, path: /d}]"), "2:9", "test 1 has no 'may'"),
        (policy(more="tests: [{user: a, path: d, may: none}]"), "2:25", "test 1, path can't be 'd'"),
        (policy(more="tests: [{user: 1, path: /d, may: none}]"), "2:16", "test 1, user must be text"),
        (policy(more="tests: [{user: a, path: /d, may: exec}]"), "2:34", "write one of none, read, write"),
        (policy(more="tests: [{user: a, path: /d, may: none, uid: -1}]"), "2:45", "too small"),
        (policy(f"- {{who: '*', deny: [/{'x' * 5000}]}}"), "4:21", "too long a text"),
        (policy(f"- {{who: '*', network: {{connect: {list(range(1, 1002))}}}}}"), "4:33", "too long a list"),
    ],
    ids=lambda text: text[-40:].replace("\n", " "),
)
def test_refusals_say_where_and_what_to_write(text: str, place: str, words: str) -> None:
    sentences = found(text)
    assert len(sentences) == 1, sentences
    assert sentences[0].startswith(f"{place} ") and words in sentences[0]


def test_all_findings_are_given() -> None:
    assert len(found("version: 2\nfoo: 1\nbar: 2\nrules:\n- {who: x, deny: [y]}\n")) == 5


def test_the_examples_of_the_design_fit() -> None:
    assert not found(EXAMPLE)


def test_the_schema_is_one_and_speaks_of_every_value() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    definitions = SCHEMA["$defs"]
    assert definitions["network"]["properties"]["bind"]["enum"] == list(Bind)
    assert definitions["defaults"]["properties"]["enforcement"]["enum"] == list(Enforcement)
    assert definitions["test"]["properties"]["may"]["enum"] == list(Right)


def keywords(schema: Any) -> set[str]:
    """The keywords that can fail, anywhere in the schema."""
    if isinstance(schema, list):
        return set().union(*map(keywords, schema))
    if not isinstance(schema, dict):
        return set()
    nested = set().union(*(keywords(value) for value in schema.values()))
    return nested | {key for key in schema if key in Draft202012Validator.VALIDATORS}


def test_every_keyword_of_the_schema_has_its_sentence() -> None:
    structure = {"$ref", "properties", "items", "additionalProperties"}
    assert keywords(SCHEMA) - structure - {"required", "enum"} <= set(_SENTENCES)
    titles = {part["title"] for part in _all(SCHEMA) if "pattern" in part}
    assert titles == set(PATTERNS)


def _all(schema: Any) -> list[dict[str, Any]]:
    children = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else []
    found = [schema] if isinstance(schema, dict) and isinstance(schema.get("pattern"), str) else []
    return found + [part for child in children for part in _all(child)]


JSON = st.recursive(
    st.booleans()
    | st.integers(-2, 70000)
    | st.sampled_from(["", "*", "/d", "{home}", "user:a", "none", "hub", "read"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["version", "rules", "tests", "who", "allow", "deny", "network", "read", "bind", "connect", "other"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(JSON, JSON)
def test_arbitrary_values_are_a_policy_or_an_error(rules: Any, whole: Any) -> None:
    for values in (whole, {"version": 1, "rules": [rules]}, {"version": 1, "rules": rules}):
        try:
            parse(json.dumps(values).encode(), FILE)
        except PolicyError as error:
            assert all(problem.text and problem.fix for problem in error.problems)  # noqa: PT017 - either is right
