"""What of the server's environment a kernel gets, and the command that starts one. Pure but for what exists."""

import os
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.access import nested
from jupyter_hpcsec.server.confine import SECRET_PREFIXES, confined, inside, private_directory, scrubbed
from jupyter_hpcsec.server.facts import SESSION_VARIABLE

TOKEN = "0123456789abcdef"
NAMES = st.sampled_from(["PATH", "HOME", "X", "JUPYTERHUB_X", "JPY_Y", "HPCSEC_Z", "JUPYTER_TOKEN", "JPY_PARENT_PID"])


@given(st.dictionaries(NAMES, st.sampled_from(["a", TOKEN, f"http://u:{TOKEN}@h/", "", "tok"])))
def test_no_secret_stays_under_any_name(environment: dict[str, str]) -> None:
    left = scrubbed(environment, {"JPY_API_TOKEN": TOKEN})
    assert not any(TOKEN in value for value in left.values())
    assert not {name for name in left if name.startswith(SECRET_PREFIXES)} - {"JPY_PARENT_PID"}
    assert "JUPYTER_TOKEN" not in left
    assert left.items() <= environment.items()


def test_a_short_token_takes_nothing_else_along() -> None:
    assert scrubbed({"PATH": "/usr/bin", "JUPYTER_TOKEN": "bin"}, {}) == {"PATH": "/usr/bin"}


def test_the_rest_stays_and_the_servers_runtime_directory_is_not_told() -> None:
    left = inside({"PATH": "/usr/bin", "JPY_SESSION_NAME": "a.ipynb", "JUPYTER_RUNTIME_DIR": "/private/j"})
    assert left.pop("JUPYTER_RUNTIME_DIR") != "/private/j"
    assert left == {"PATH": "/usr/bin", "JPY_SESSION_NAME": "a.ipynb"}


def test_the_private_directory_is_where_it_really_is(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert private_directory({SESSION_VARIABLE: str(tmp_path / "link/session.json")}) == tmp_path / "real"


def test_only_what_is_there_is_opened(tmp_path: Path) -> None:
    (tmp_path / "session.json").touch()
    (tmp_path / "k").mkdir()
    command = confined(["prog", "--", "x"], tmp_path, opened=[tmp_path / "k", tmp_path / "none"])
    assert command[:4] == [sys.executable, "-I", "-S", nested.__file__]
    assert command[4:] == [
        str(os.getpid()), str(tmp_path), str(tmp_path / "session.json"), str(tmp_path / "k"), "--", "prog", "--", "x",
    ]  # fmt: skip
