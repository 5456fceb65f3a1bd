from html.parser import HTMLParser

import pytest

from jupyter_hpcsec.errors import Refused
from jupyter_hpcsec.hub.profileform import options_from_form, render_form
from jupyter_hpcsec.hub.profiles import choose, parse_profiles
from jupyter_hpcsec.hub.projectchoice import Offer, Offered, OfferedTerms, asked_for

PROFILES = parse_profiles(
    [
        {
            "name": "small",
            "title": "Small <b>&</b>",
            "description": '"><script>alert(1)</script>',
            "cpus": {"min": 1, "max": 8, "default": 2},
            "memory_gib": 8,
            "minutes": {"min": 30, "max": 480, "default": 120},
        },
        {
            "name": "big",
            "title": "Big",
            "cpus": 64,
            "memory_gib": {"min": 64, "max": 512, "default": 64},
            "minutes": 60,
            "gpus": 0,
            "gpu_type": "a100",
            "partition": "main",
        },
    ]
)


class Page(HTMLParser):
    """Collects inputs and labels."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.inputs: list[dict[str, str | None]] = []
        self.labels: set[str | None] = set()
        self.open_labels = 0
        self.ids: set[str | None] = set()
        self.tags: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.add(tag)
        self.ids.add(values.get("id"))
        if tag == "label":
            self.open_labels += 1
            self.labels.add(values.get("for"))
        if tag == "input":
            self.inputs.append({**values, "in_label": "yes" if self.open_labels else ""})

    def handle_endtag(self, tag: str) -> None:
        if tag == "label":
            self.open_labels -= 1


def browser(page: Page, profile: str, **typed: str) -> dict[str, list[str]]:
    """What a browser posts: the radio button that is on, and every number on the page."""
    numbers = {field["name"]: [field["value"]] for field in page.inputs if field["type"] == "number"}
    return {**numbers, **{name: [value] for name, value in typed.items()}, "profile": [profile], "_xsrf": ["x"]}


def test_what_administrators_wrote_is_escaped() -> None:
    html = render_form(PROFILES)
    assert "alert(1)</script" not in html and "<b>" not in html and html.count("<script") == 1
    tags = {"style", "script", "fieldset", "legend", "label", "input", "p", "br", "div", "small"}
    assert Page(html).tags <= tags


def test_nothing_comes_from_another_host() -> None:
    assert "//" not in render_form(PROFILES)


def test_every_input_has_a_label_and_its_range() -> None:
    page = Page(render_form(PROFILES))
    assert [field["value"] for field in page.inputs if field["type"] == "radio"] == ["small", "big"]
    for field in page.inputs:
        assert field["in_label"] or field["id"] in page.labels
        if field["type"] == "number":
            assert field["aria-describedby"] in page.ids and field["min"] and field["max"]


def test_a_fixed_number_is_not_asked_for() -> None:
    names = {field["name"] for field in Page(render_form(PROFILES)).inputs}
    assert names == {"profile", "cpus.small", "minutes.small", "memory_gib.big"}


def test_what_is_not_asked_for_is_told() -> None:
    html = render_form(PROFILES)
    assert "8 GiB of memory</small>" in html and "64 CPU cores · 1 hour · a100 GPUs · partition main</small>" in html


def test_no_profiles_no_form() -> None:
    assert render_form(()) == ""
    assert render_form((), {"profile": "small"}) == ""


@pytest.mark.parametrize(
    "last",
    [
        None,
        [],
        "small",
        {"profile": "nobody's"},
        {"profile": ["big"]},
        {"profile": {"big": 1}},
        {"cpus": "4"},
        {"cpus": True},
        {"cpus": -1},
        {"cpus": 10**9},
        {"cpus": 1.5},
        {"cpus": '"><script>'},
    ],
)
def test_options_that_nobody_typed_into_the_form_are_not_shown(last: object) -> None:
    assert render_form(PROFILES, last) == render_form(PROFILES)


def test_what_was_typed_last_is_shown_again_and_what_is_wrong_is_marked() -> None:
    page = Page(render_form(PROFILES, {"profile": "big", "memory_gib": 9999, "cpus": 3}))
    fields = {field["name"]: field for field in page.inputs if field["type"] == "number"}
    assert [field["value"] for field in page.inputs if "checked" in field] == ["big"]
    assert fields["memory_gib.big"]["value"] == "9999" and fields["memory_gib.big"]["aria-invalid"] == "true"
    assert fields["cpus.small"]["value"] == "2"
    page = Page(render_form(PROFILES, {"profile": "small", "cpus": 8}))
    fields = {field["name"]: field for field in page.inputs if field["type"] == "number"}
    assert fields["cpus.small"]["value"] == "8" and "aria-invalid" not in fields["cpus.small"]


@pytest.mark.parametrize(
    ("field", "values", "rule"),
    [
        ("batch_script", ["#!/bin/sh"], "options.unknown"),
        ("partition", ["gpu"], "options.unknown"),
        ("cpus.small.x", ["1"], "options.unknown"),
        ("cpus.", ["1"], "options.unknown"),
        ("cpus.small", ["1", "2"], "options.shape"),
        ("cpus.small", [], "options.shape"),
        ("cpus_file", [{"body": b"x"}], "options.shape"),
        ("cpus.small", ["2\n#SBATCH"], "options.type"),
        ("cpus.small", ["{{2}}"], "options.type"),
        ("cpus.small", [""], "options.type"),
        ("cpus.small", ["-1"], "options.type"),
        ("cpus.small", ["9" * 5000], "options.type"),
    ],
)
def test_a_field_that_the_form_can_not_have_sent_is_refused(field, values, rule) -> None:
    with pytest.raises(Refused) as refused:
        options_from_form({"profile": ["small"], field: values})
    assert refused.value.rule == rule


def test_what_a_browser_posts_becomes_the_choice() -> None:
    page = Page(render_form(PROFILES))
    options = options_from_form(browser(page, "small", **{"cpus.small": "4"}))
    assert options == {"profile": "small", "cpus": 4, "minutes": 120}
    choice = choose(PROFILES, options, frozenset())
    assert choice is not None and (choice.cpus, choice.memory_gib) == (4, 8)
    assert options_from_form(browser(page, "big")) == {"profile": "big", "memory_gib": 64}


def test_numbers_of_other_profiles_do_not_count() -> None:
    options = options_from_form({"profile": ["big"], "cpus.small": ["9999"], "memory_gib.big": ["128"]})
    assert options == {"profile": "big", "memory_gib": 128}


def test_links_may_name_plain_options() -> None:
    assert options_from_form({"profile": ["small"], "cpus": ["3"]}) == {"profile": "small", "cpus": 3}


# Projects


EVIL = '"><script>alert(1)</script>'


def project(name: str = "genomics", **changes: object) -> Offered:
    facts = {"state": "open", "review_on": "2027-06-30", "warning": "", "why_not": ""}
    terms = OfferedTerms(title=f"Title {EVIL}", purpose=f"Purpose {EVIL}", owner=EVIL, account="")
    return Offered(**({"id": name, "terms": terms} | facts | changes))  # type: ignore[arg-type]


def shut(name: str = "late") -> Offered:
    return project(name, state="expired", why_not=f"It was to be reviewed. {EVIL}")


def offer(*projects: Offered, mode: str = "required") -> Offer:
    return Offer(mode=mode, office=f"the project office ({EVIL})", projects=projects, told={"access": EVIL})


def radios(html: str) -> dict[str | None, dict[str, str | None]]:
    return {each["value"]: each for each in Page(html).inputs if each.get("name") == "project"}


@pytest.mark.parametrize("given", [offer(), offer(project(), shut()), offer(project(warning=EVIL), mode="optional")])
def test_nothing_of_a_project_is_markup(given: Offer) -> None:
    html = render_form(PROFILES, {"project": EVIL}, offer=given, estimates={"small": EVIL})
    assert "<script>alert" not in html
    page = Page(html)
    for each in page.inputs:
        assert each["id"] in page.labels
        if about := each.get("aria-describedby"):
            assert about in page.ids


def test_the_only_open_project_is_chosen_and_a_shut_one_cannot_be() -> None:
    found = radios(render_form(PROFILES, offer=offer(project(), shut())))
    assert "checked" in found["genomics"] and "disabled" not in found["genomics"]
    assert "disabled" in found["late"] and "checked" not in found["late"]
    found = radios(render_form(PROFILES, offer=offer(project(), project("other"))))
    assert not any("checked" in each for each in found.values()) and all("required" in each for each in found.values())
    found = radios(render_form(PROFILES, {"project": "other"}, offer=offer(project(), project("other"))))
    assert "checked" in found["other"]
    found = radios(render_form(PROFILES, {"project": "late"}, offer=offer(project(), shut())))
    assert "checked" in found["genomics"]


def test_where_none_is_needed_none_is_chosen_first() -> None:
    found = radios(render_form(PROFILES, offer=offer(project(), project("b"), mode="optional")))
    assert set(found) == {"", "genomics", "b"} and "checked" in found[""]


def test_who_has_none_reads_whom_to_ask() -> None:
    for given in (offer(), offer(shut())):
        html = render_form((), offer=given)
        assert "you have none that is open" in html and "the project office (" in html


def test_a_site_without_projects_shows_none() -> None:
    assert "hpcsec-projects" not in render_form(PROFILES)
    assert "does not answer" in render_form(PROFILES, offer=None)
    assert render_form((), offer=None) == render_form(()) == ""
    assert render_form((), offer=offer(mode="optional")) == ""


def test_a_project_that_must_be_reviewed_soon_is_worth_a_page() -> None:
    assert render_form((), offer=offer(project())) == ""
    assert "Review soon" in render_form((), offer=offer(project(warning="30 days left")))


def test_the_form_posts_the_project() -> None:
    assert options_from_form({"project": ["genomics"], "_xsrf": ["x"]}) == {"project": "genomics"}
    assert options_from_form({"project": [""]}) == {}
    with pytest.raises(Refused):
        options_from_form({"project": ["a", "b"]})
    for evil in ("../x", EVIL, "a;id", "A"):
        with pytest.raises(Refused) as refusal:
            asked_for(options_from_form({"project": [evil]}))
        assert refusal.value.rule == "options.project"
