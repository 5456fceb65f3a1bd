import contextlib
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jupyterhub.utils import url_escape_path
from yarl import URL

from jupyter_hpcsec.errors import Malformed, Refused
from jupyter_hpcsec.tunnel.hubrules import BODY_LIMIT, Route, allow, check_base_path, check_body

ACTIVITY = "/hub/api/users/alice/activity"


def rule_of(method: str, target: str, user: str = "alice", **settings: str) -> str:
    with pytest.raises(Refused) as error:
        allow(method, target, user=user, **settings)
    return error.value.rule


# -- request lines ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "rule"),
    [
        ("/", "hub-api.path"),
        ("/hub/home", "hub-api.path"),
        ("/hub/admin", "hub-api.path"),
        ("/hub/api/users", "hub-api.path"),
        ("/hub/api/info", "hub-api.path"),
        ("/hub/api/proxy", "hub-api.path"),
        ("/hub/api/shutdown", "hub-api.path"),
        ("/hub/api/services", "hub-api.path"),
        ("/hub/api/groups", "hub-api.path"),
        ("/hub/api/batchspawner", "hub-api.path"),
        ("/hub/api/authorizations/token/abc", "hub-api.path"),
        ("/hub/api/oauth2/authorize", "hub-api.path"),
        ("/hub/api/user/", "hub-api.path"),
        ("/hub/api/user/tokens", "hub-api.path"),
        ("/hub/api/USER", "hub-api.path"),
        ("/jupyter/hub/api/user", "hub-api.path"),
        # other users, and more of one's own than needed
        ("/hub/api/users/bob", "hub-api.user"),
        ("/hub/api/users/bob/activity", "hub-api.user"),
        ("/hub/api/users/Alice/activity", "hub-api.user"),
        ("/hub/api/users/alice", "hub-api.user"),
        ("/hub/api/users/alice/", "hub-api.user"),
        ("/hub/api/users/alice/tokens", "hub-api.user"),
        ("/hub/api/users/alice/server", "hub-api.user"),
        ("/hub/api/users/alice/activity/", "hub-api.user"),
        ("/hub/api/users/alice/activity/x", "hub-api.user"),
        # encoded, doubled, dotted
        ("/hub/api/%75ser", "hub-api.form"),
        ("/hub/api/users/%61lice/activity", "hub-api.form"),
        ("/hub/api/users/alice%2Factivity", "hub-api.form"),
        ("/hub/api/users/alice%2F..%2Fbob/activity", "hub-api.form"),
        ("/hub/api/users/%2e%2e/users/bob/activity", "hub-api.form"),
        ("/hub/api%2Fuser", "hub-api.form"),
        ("/hub/api/user%00", "hub-api.form"),
        ("//hub/api/user", "hub-api.form"),
        ("/hub//api/user", "hub-api.form"),
        ("/hub/api/user//", "hub-api.form"),
        ("/hub/./api/user", "hub-api.form"),
        ("/hub/api/user/.", "hub-api.form"),
        ("/hub/api/users/alice/activity/../../bob/activity", "hub-api.form"),
        ("/hub/api/users/../user", "hub-api.form"),
        ("/hub/api/..", "hub-api.form"),
        ("/hub/api/..?x", "hub-api.form"),
        ("/hub/api\\user", "hub-api.form"),
        ("/hub/api/user;a=b", "hub-api.form"),
        ("/hub/api/user#x", "hub-api.form"),
        ("/hub/api/user\t", "hub-api.form"),
        ("/hub/api/user\n", "hub-api.form"),
        ("/hub/api/üser", "hub-api.form"),
        # queries
        ("/hub/api/user?", "hub-api.query"),
        ("/hub/api/user?token=x", "hub-api.query"),
        ("/hub/api?include=servers", "hub-api.query"),
        # other forms of a target (RFC 9112, section 3.2)
        ("", "hub-api.target"),
        ("*", "hub-api.target"),
        ("hub/api/user", "hub-api.target"),
        ("http://hub/hub/api/user", "hub-api.target"),
        ("hub:8081", "hub-api.target"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_is_not_on_the_list_is_refused(method: str, target: str, rule: str) -> None:
    assert rule_of(method, target) == rule


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "OPTIONS", "HEAD", "PUT", "DELETE", "PATCH", "get", "GET ", ""])
@pytest.mark.parametrize("target", ["/hub/api", "/hub/api/user", "/hub/api/oauth2/token", ACTIVITY, "/elsewhere"])
def test_other_methods_are_refused(method: str, target: str) -> None:
    assert rule_of(method, target) == "hub-api.method"


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/hub/api"),
        ("POST", "/hub/api/"),
        ("POST", "/hub/api/user"),
        ("GET", "/hub/api/oauth2/token"),
        ("GET", ACTIVITY),
    ],
)
def test_a_known_path_by_another_method_is_refused(method: str, target: str) -> None:
    assert rule_of(method, target) == "hub-api.method"


@pytest.mark.parametrize("user", ["", ".", "..", "a/b", "/"])
def test_a_user_whose_name_would_change_the_path_gets_nothing(user: str) -> None:
    for target in ("/hub/api", f"/hub/api/users/{user}/activity"):
        assert rule_of("POST", target, user) == "hub-api.user-name"


@pytest.mark.parametrize(
    ("method", "target", "suffix"),
    [
        ("GET", "/hub/api", ""),
        ("GET", "/hub/api/", ""),
        ("GET", "/hub/api/user", "/user"),
        ("POST", "/hub/api/oauth2/token", "/oauth2/token"),
        ("POST", ACTIVITY, "/users/alice/activity"),
    ],
)
def test_what_a_single_user_server_sends_is_let_through(method: str, target: str, suffix: str) -> None:
    for prefix in ("", "/jupyter", "/a/b"):
        route = allow(method, prefix + target, user="alice", base_path=f"{prefix}/hub/api")
        assert (route.method, route.suffix) == (method, suffix)
    assert rule_of(method, target, base_path="/jupyter/hub/api").startswith("hub-api.")


NAMES = st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1).filter(
    lambda name: name not in (".", "..")
)


@given(NAMES)
@example("a@b.org")
@example("o'neil;x=1")
@example("a%2Fb")
@example("ä b+c")
@example("...")
def test_every_user_reaches_the_own_activity_as_hub_and_client_spell_it(name: str) -> None:
    spelled = f"/hub/api/users/{url_escape_path(name)}/activity"
    sent = URL(f"http://hub{spelled}").raw_path_qs
    for target in (spelled, sent):
        assert allow("POST", target, user=name).suffix == f"/users/{url_escape_path(name)}/activity"


@given(NAMES, NAMES)
@example("a", "a%2F..")
@example("a%2Fb", "a")
@example("a%40b", "a@b")
def test_no_user_reaches_anothers_activity(name: str, other: str) -> None:
    if name != other:
        for quoted in (url_escape_path(other), URL(f"http://hub/{url_escape_path(other)}").raw_path[1:]):
            with pytest.raises(Refused):
                allow("POST", f"/hub/api/users/{quoted}/activity", user=name)


@given(st.text(max_size=40) | st.from_regex(r"/hub/api/[a-z/%.2eEfF]{0,30}", fullmatch=True))
def test_any_target_is_one_of_the_four_or_refused(target: str) -> None:
    for method in ("GET", "POST"):
        with contextlib.suppress(Refused):
            route = allow(method, target, user="alice")
            assert f"/hub/api{route.suffix}" in (target, target.removesuffix("/"))


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "hub/api",
        "/hub/api/",
        "/hub",
        "/../hub/api",
        "/a//hub/api",
        "/a b/hub/api",
        "/%61/hub/api",
        "/hub/api\n",
    ],
)
def test_a_base_path_has_one_form(path: str) -> None:
    with pytest.raises(Malformed):
        check_base_path(path)


@pytest.mark.parametrize("path", ["/hub/api", "/jupyter/hub/api", "/~a/b.c/hub/api"])
def test_the_hubs_base_url_can_be_set(path: str) -> None:
    assert check_base_path(path) == path


# -- bodies -------------------------------------------------------------------------------------------------------

WHO = allow("GET", "/hub/api/user", user="alice")
TOKEN = allow("POST", "/hub/api/oauth2/token", user="alice")
REPORT = allow("POST", ACTIVITY, user="alice")
FORM = "application/x-www-form-urlencoded"
AT = "2026-01-01T00:00:00.000000Z"


def body_rule(route: Route, content_type: str, body: bytes | Any, server: str = "") -> str:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(Refused) as error:
        check_body(route, content_type, raw, server=server)
    return error.value.rule


def test_bodies_are_limited_and_stand_where_they_belong() -> None:
    assert body_rule(WHO, "", b"x") == "hub-api.body"
    assert body_rule(TOKEN, FORM, b"x" * (BODY_LIMIT + 1)) == "hub-api.body"
    for content_type in ("", "text/plain", "application/json", "multipart/form-data", f"{FORM}, text/plain"):
        assert body_rule(TOKEN, content_type, b"x") == "hub-api.body"
    assert body_rule(REPORT, FORM, {"last_activity": AT}) == "hub-api.body"
    check_body(WHO, "text/plain", b"", server="")
    check_body(TOKEN, FORM, b"x" * BODY_LIMIT, server="")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"[" * 9000,
        b"[]",
        b"7",
        b'{"last_activity": "a", "last_activity": "b"}',
        {"admin": True},
        {"last_activity": 7},
        {"servers": []},
        {"servers": {"": AT}},
        {"servers": {"": {}}},
        {"servers": {"": {"last_activity": None}}},
        {"servers": {"": {"last_activity": AT, "url": "x"}}},
    ],
)
def test_activity_has_one_form(body: Any) -> None:
    assert body_rule(REPORT, "application/json", body) == "hub-api.body"


def test_a_session_reports_its_own_server_only() -> None:
    both = {"servers": {"gpu": {"last_activity": AT}, "": {"last_activity": AT}}}
    for server in ("", "gpu"):
        assert body_rule(REPORT, "application/json", both, server) == "hub-api.server"
        own = json.dumps({"servers": {server: {"last_activity": AT}}, "last_activity": AT}).encode()
        check_body(REPORT, "application/json; charset=utf-8", own, server=server)
    assert body_rule(REPORT, "application/json", {"servers": {"gpu": {"last_activity": AT}}}) == "hub-api.server"
