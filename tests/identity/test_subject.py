"""One spelling for each name: what does not come back as it went is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.errors import Malformed
from jupyter_hpcsec.identity.subject import NAME_LIMIT, JobSubject, check_trust_domain

SID = "0123456789abcdef" * 2
ALICE = JobSubject("hpc.example.org", "alice", "", "17", SID)
URI = f"spiffe://hpc.example.org/user/alice/server/-/job/17/session/{SID}"


@pytest.mark.parametrize(
    "uri",
    [
        "",
        URI + "/",
        URI + "?x",
        URI + "#x",
        URI.upper(),
        URI.replace("spiffe", "https"),
        URI.replace("alice", ""),
        URI.replace("alice", "%61lice"),
        URI.replace("alice", "al%2fice"),
        URI.replace("alice", "alice/x"),
        URI.replace("alice", "alice%"),
        URI.replace("alice", "alice%zz"),
        URI.replace("alice", "%ff"),
        URI.replace("alice", "älice"),
        URI.replace("alice", "a b"),
        URI.replace("alice", "."),
        URI.replace("alice", "alice/server/-/job/17/session/" + SID + "/user/bob"),
        URI.replace("/server/-", "/server/"),
        URI.replace("/server/-", "/server/%2d"),
        URI.replace("/server/-", ""),
        URI.replace("/job/17", "/job/"),
        URI.replace("/user/alice/server/-", "/server/-/user/alice"),
        URI.replace("hpc.example.org", "HPC.example.org"),
        URI.replace("hpc.example.org", "hpc.example.org:80"),
        URI.replace("hpc.example.org", "x@hpc.example.org"),
        URI.replace(SID, SID.upper()),
        URI.replace(SID, SID + "\n"),
        URI.replace("alice", "a" * 3000),
    ],
)
def test_any_other_spelling_is_refused(uri: str) -> None:
    with pytest.raises(Malformed):
        JobSubject.parse(uri)


def test_the_one_spelling_is_read() -> None:
    assert ALICE.uri == URI
    assert JobSubject.parse(URI) == ALICE


@pytest.mark.parametrize(
    ("user", "server", "job"),
    [
        ("", "", "17"),
        ("alice", "", ""),
        ("a" * (NAME_LIMIT + 1), "", "17"),
        ("\udc80", "", "17"),
        ("\N{BUG}" * 64, "", "1"),
    ],
)
def test_names_that_fit_no_uri_are_refused(user: str, server: str, job: str) -> None:
    with pytest.raises(Malformed):
        JobSubject("hpc.example.org", user, server, job, SID)


@pytest.mark.parametrize("session", ["", SID[:-1], SID + "0", SID.upper(), "../" + SID[3:]])
def test_a_session_id_has_one_form(session: str) -> None:
    with pytest.raises(Malformed):
        JobSubject("hpc.example.org", "alice", "", "17", session)


@pytest.mark.parametrize("domain", ["", "A", "a/b", "a:1", "a b", ".a", "a.", "-a", "a" * 256, "ä", "a\n", "a%20", "*"])
def test_a_trust_domain_has_one_form(domain: str) -> None:
    with pytest.raises(Malformed):
        check_trust_domain(domain)


@pytest.mark.parametrize(
    ("name", "spelling"),
    [
        ("-", "%2D"),
        (".", "%2E"),
        ("..", "%2E%2E"),
        ("a/b", "a%2Fb"),
        ("ä@x", "%C3%A4%40x"),
        ("%2D", "%252D"),
        ("--", "--"),
    ],
)
def test_names_that_mean_something_in_a_path_are_spelt_out(name: str, spelling: str) -> None:
    subject = JobSubject("hpc.example.org", "alice", name, "17", SID)
    assert f"/server/{spelling}/job/" in subject.uri
    assert JobSubject.parse(subject.uri) == subject


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(names, names, names)
def test_every_name_comes_back(user: str, server: str, job: str) -> None:
    if not user or not job:
        return
    subject = JobSubject("hpc.example.org", user, server, job, SID)
    assert JobSubject.parse(subject.uri) == subject
    assert subject.uri.isascii()


@given(names, names, names, names)
def test_no_two_subjects_share_a_uri(user: str, server: str, other_user: str, other_server: str) -> None:
    if not user or not other_user or (user, server) == (other_user, other_server):
        return
    assert JobSubject("a", user, server, "1", SID).uri != JobSubject("a", other_user, other_server, "1", SID).uri


@given(st.text() | st.lists(st.text(max_size=9), max_size=12).map("/".join))
def test_nothing_but_malformed_is_raised(uri: str) -> None:
    with pytest.raises(Malformed):
        JobSubject.parse(uri)
