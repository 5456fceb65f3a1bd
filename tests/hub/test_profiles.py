import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.errors import Malformed, Refused
from jupyter_hpcsec.hub.profiles import OPTIONS, Choice, Range, choose, parse_profiles, visible

SMALL = {
    "name": "small",
    "title": "Small",
    "partition": "main",
    "cpus": {"min": 1, "max": 8, "default": 2},
    "memory_gib": 8,
    "minutes": {"min": 30, "max": 480, "default": 120},
}
GPU = {**SMALL, "name": "gpu", "title": "One GPU", "gpus": 1, "gpu_type": "a100", "groups": ["genomics"]}
PROFILES = parse_profiles([SMALL, GPU])
NOBODY = frozenset()

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


def rule(options, groups=NOBODY, profiles=PROFILES) -> str:
    with pytest.raises(Refused) as refused:
        choose(profiles, options, groups)
    return refused.value.rule


@pytest.mark.parametrize(
    "key",
    [
        "batch_script",
        "cmd",
        "req_prologue",
        "prologue",
        "exec_prefix",
        "job_id",
        "options",
        "partition",
        "__class__",
        "Cpus",
    ],
)
def test_a_key_that_is_no_option_is_refused(key) -> None:
    assert rule({"profile": "small", key: "x"}) == "options.unknown"


@pytest.mark.parametrize(
    "value", ["4", "4\n#SBATCH --uid=0", "{{ 7*7 }}", 4.0, True, None, [4], {"min": 1}, float("nan"), "٤"]
)
def test_a_number_that_is_no_integer_is_refused(value) -> None:
    assert rule({"cpus": value}) == "options.type"


@pytest.mark.parametrize(
    ("key", "value"), [("cpus", 0), ("cpus", 9), ("cpus", -1), ("memory_gib", 9), ("gpus", 1), ("minutes", 10**30)]
)
def test_a_number_out_of_range_is_refused(key, value) -> None:
    assert rule({key: value}) == "options.range"


@pytest.mark.parametrize("name", ["large", "", "small\n", "../small", None, 3, ["small"], {"small": 1}])
def test_a_profile_that_does_not_exist_is_refused(name) -> None:
    assert rule({"profile": name}) == "options.profile"


@pytest.mark.parametrize("options", [None, [], "small", 3, [["profile", "small"]], {str(n): n for n in range(9)}])
def test_what_is_no_small_object_is_refused(options) -> None:
    assert rule(options) == "options.shape"


def test_a_profile_for_others_is_refused_and_then_given_to_its_group() -> None:
    assert rule({"profile": "gpu"}) == "options.profile"
    choice = choose(PROFILES, {"profile": "gpu"}, frozenset({"genomics"}))
    assert choice is not None and choice.gpus == 1


def test_without_profiles_nothing_may_be_asked_for() -> None:
    assert rule({"cpus": 1}, profiles=()) == "options.profile"
    assert choose((), {}, NOBODY) is None


def test_a_user_without_any_profile_is_refused() -> None:
    assert rule({}, profiles=PROFILES[1:]) == "options.profile"


def test_defaults_and_choices() -> None:
    assert choose(PROFILES, {}, NOBODY) == Choice(PROFILES[0], cpus=2, memory_gib=8, gpus=0, minutes=120)
    assert choose(PROFILES, {"profile": "small", "cpus": 8, "minutes": 30}, NOBODY) == Choice(
        PROFILES[0], cpus=8, memory_gib=8, gpus=0, minutes=30
    )


@given(options=JSON | st.dictionaries(st.sampled_from(sorted(OPTIONS)), JSON, max_size=5))
def test_whatever_is_sent_only_ranges_come_out(options) -> None:
    try:
        choice = choose(PROFILES, options, NOBODY)
    except Refused:
        return
    assert choice is not None and choice.profile is PROFILES[0]
    assert 1 <= choice.cpus <= 8 and choice.memory_gib == 8 and choice.gpus == 0 and 30 <= choice.minutes <= 480
    for value in choice.variables().values():
        assert isinstance(value, int) or ("\n" not in value and "{" not in value)


def test_variables_for_templates() -> None:
    choice = choose(PROFILES, {"profile": "gpu", "cpus": 4, "minutes": 90}, frozenset({"genomics"}))
    assert choice is not None
    variables = choice.variables()
    expected = {
        "partition": "main",
        "queue": "main",
        "nprocs": "4",
        "memory": "8G",
        "gres": "gpu:a100:1",
        "runtime": "1:30:00",
    }
    assert {key: variables[key] for key in expected} == expected
    small = choose(PROFILES, {}, NOBODY)
    assert small is not None and small.variables()["gres"] == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "Small"}, "lower-case"),
        ({"name": None}, "lower-case"),
        ({"cpu": 2}, "'cpu'"),
        ({"cpus": "2"}, "cpus"),
        ({"cpus": True}, "cpus"),
        ({"cpus": {"min": 4, "max": 2, "default": 3}}, "min <= default"),
        ({"cpus": {"min": 1, "max": 2}}, "cpus"),
        ({"cpus": 0}, "1 <= min"),
        ({"partition": "main\n#SBATCH --uid=0"}, "one word"),
        ({"constraint": "{{x}}"}, "one word"),
        ({"partition": "-p"}, "one word"),
        ({"title": "two\nlines"}, "one line"),
        ({"groups": "genomics"}, "list"),
        ({"groups": [3]}, "list"),
    ],
)
def test_a_profile_that_is_wrong_names_its_fix(change, said) -> None:
    with pytest.raises(Malformed, match=said):
        parse_profiles([{**SMALL, **change}])


def test_missing_settings_and_doubles() -> None:
    with pytest.raises(Malformed, match="'minutes' is missing"):
        parse_profiles([{key: value for key, value in SMALL.items() if key != "minutes"}])
    with pytest.raises(Malformed, match="twice"):
        parse_profiles([SMALL, SMALL])
    with pytest.raises(Malformed, match="dictionary"):
        parse_profiles(["small"])


def test_profiles_are_json_and_visible_by_group() -> None:
    assert parse_profiles(json.loads(json.dumps([SMALL, GPU]))) == PROFILES
    assert visible(PROFILES, NOBODY) == PROFILES[:1]
    assert visible(PROFILES, frozenset({"genomics", "x"})) == PROFILES
    assert Range(8, 8, 8).is_fixed and not Range(1, 8, 2).is_fixed
