"""Which part of a server a target names, and which file."""

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.audit.tap.paths import Area, base_path, canonical, place_of, shown

BASE = ("user", "a b")


@pytest.mark.parametrize(
    ("target", "area", "path", "name"),
    [
        ("/user/a%20b/api/contents", Area.CONTENTS, b"", ""),
        ("/user/a%20b/api/contents/x/../y%2fz?content=1", Area.CONTENTS, b"y/z", ""),
        ("/user/a%20b/api/contents/%252e", Area.CONTENTS, b"%2e", ""),
        ("/user/a%20b/api/contents/x/checkpoints", Area.CHECKPOINTS, b"x", ""),
        ("/user/a%20b/files/%ff%00", Area.FILES, b"\xff\x00", ""),
        ("/user/a%20b/nbconvert/html/x.ipynb", Area.NBCONVERT, b"x.ipynb", ""),
        ("/user/a%20b/api/kernels/a-b-c-d-e/channels", Area.CHANNELS, b"", "a-b-c-d-e"),
        ("/user/a%20b/terminals/websocket/1", Area.TERMINAL_SOCKET, b"", "1"),
        ("/user/a%20b/lab/tree/x", Area.QUIET, b"", ""),
        ("/user/a%20b/", Area.QUIET, b"", ""),
        ("/user/a%20b/%61pi/contents/x", Area.OTHER, b"", ""),
        ("/user/a%20b//api/contents/x", Area.OTHER, b"", ""),
        ("/user/b/api/contents/x", Area.OTHER, b"", ""),
        ("/api/contents/x", Area.OTHER, b"", ""),
        ("/", Area.OTHER, b"", ""),
    ],
)
def test_places(target: str, area: Area, path: bytes, name: str) -> None:
    place = place_of(target, BASE)
    assert (place.area, place.path, place.name) == (area, path, name)


def test_the_base_of_a_server() -> None:
    assert base_path("/", "alice", "") == ("user", "alice")
    assert base_path("/jupyter/hub/", "alice", "gpu") == ("jupyter", "hub", "user", "alice", "gpu")


def test_the_query_is_read_and_not_shown() -> None:
    place = place_of("/user/a%20b/api/contents/x?content=1&content=0&token=secret", BASE)
    assert place.asks("content") == "0" and place.asks("type") == ""
    assert shown("/x%20y?token=secret") == b"/x y"


@given(st.text(st.sampled_from("a./%2ef"), max_size=30))
def test_dot_segments_are_resolved_as_the_server_does(path: str) -> None:
    found = canonical(path)
    assert not found.startswith(b"/") and b"/./" not in found and not found.endswith(b"/")
    assert posixpath.normpath(found) == found or not found
