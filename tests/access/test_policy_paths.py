"""Paths of a policy: one spelling, and traits that can't smuggle another one in."""

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.access.policy_paths import Template, component_fault, path_fault, shape_fault, template_fault
from jupyter_hpcsec.access.prefixes import is_canonical


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("data", "relative"),
        ("", "relative"),
        ("~/x", "relative"),
        ("./x", "relative"),
        ("$HOME/x", "relative"),
        ("/", "whole file system"),
        ("/data/", "'/' at the end"),
        ("//", "'/' at the end"),
        ("//data", "empty name"),
        ("/data//x", "empty name"),
        ("/data/../x", "'..'"),
        ("/..", "'..'"),
        ("/data/.", "'.'"),
        ("/data/\0x", "control character"),
        ("/data/x\n", "control character"),
        ("/data/*", "glob '*'"),
        ("/data/x?", "glob '?'"),
        ("/data/[ab]", "glob '['"),
        ("/home/$USER", "environment variable"),
        ("/data/" + "x" * 256, "255 bytes"),
        ("/data/" + "ü" * 128, "255 bytes"),
        ("/xxxxxxx" * 512, "4095 bytes"),
        ("/data/\udcff", "UTF-8"),
        ("/proc", "sandbox itself"),
        ("/proc/1/mem", "sandbox itself"),
    ],
)
def test_paths_that_are_refused(path: str, words: str) -> None:
    fault = path_fault(path)
    assert fault and words in fault.text and fault.fix


@pytest.mark.parametrize(
    "path", ["/data", "/data/x y", "/data/...", "/data/x.", "/data/.x", "/data/x%2Fy", "/processes", "/data/ü", "/a$1"]
)
def test_paths_that_are_accepted(path: str) -> None:
    assert path_fault(path) is None


def test_a_question_may_be_about_any_name() -> None:
    assert shape_fault("/data/a*b [1]") is None
    assert shape_fault("/proc/1/mem") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/home/{usr}", "no trait {usr}"),
        ("/home/{USER}", "no trait {USER}"),
        ("/home/{}", "no trait {}"),
        ("/home/{user", "brace"),
        ("/home/user}", "brace"),
        ("/home/{{user}}", "brace"),
        ("/data/{group}", "{group} can't be filled in"),
        ("/data/{home}", "at the beginning"),
        ("{home}/{home}", "at the beginning"),
        ("{home}x", "followed by '/'"),
        ("{home}/", "'/' at the end"),
        ("{home}/..", "'..'"),
        ("{user}/x", "relative"),
        ("/data/{user}/*", "glob"),
    ],
)
def test_templates_that_are_refused(text: str, words: str) -> None:
    fault = template_fault(text, group=False)
    assert fault and words in fault.text + fault.fix


@pytest.mark.parametrize("text", ["{home}", "{home}/x", "/data/{group}", "/p/{project}/u-{uid}/{user}.d"])
def test_templates_that_are_accepted(text: str) -> None:
    assert template_fault(text, group=True) is None


@pytest.mark.parametrize("value", ["", ".", "..", "a/b", "/", "a\0", "a\n", "*", "x" * 256, "$HOME"])
def test_values_that_are_no_name(value: str) -> None:
    assert component_fault(value)


@pytest.mark.parametrize("value", ["alice", "a.b@example.org", "..x", "proc", "a b", "0"])
def test_values_that_are_a_name(value: str) -> None:
    assert component_fault(value) is None


def test_a_value_is_not_filled_in_twice() -> None:
    assert Template("/a/{user}").fill({"user": "{home}", "home": "/root"}) == "/a/{home}"
    with pytest.raises(KeyError):
        Template("/a/{project}").fill({"user": "x"})


def test_what_is_above_is_above_by_whole_names() -> None:
    assert list(Template("/data/x-y/{user}").above()) == ["/data/x-y", "/data", ""]
    assert list(Template("{home}/x").above()) == ["{home}"]
    assert list(Template("{home}").above()) == []


@given(st.text(alphabet="ab/.{}*\0\u0301é ", max_size=12).map(lambda text: "/" + text))
def test_what_is_accepted_is_its_own_normal_form(path: str) -> None:
    if path_fault(path) is None:
        assert posixpath.normpath(path) == path
        assert is_canonical(path)
