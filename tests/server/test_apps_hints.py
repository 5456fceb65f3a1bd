"""Kernels of a session with its own network are told where their pages are; others are told nothing."""

from pathlib import Path

from jupyter_hpcsec.server.apps.hints import give_hints, hints

OUT = "eth0\t00000000\t0100000A\n"


def test_without_a_network_of_its_own_nothing_is_said(tmp_path: Path) -> None:
    environment: dict[str, str] = {}
    give_hints(environment, "/user/alice/", tmp_path / "none")
    (tmp_path / "route").write_text(OUT)
    give_hints(environment, "/user/alice/", tmp_path)
    assert environment == {}


def test_what_the_user_set_stays(tmp_path: Path) -> None:
    environment = {"SPARK_LOCAL_IP": "127.0.0.2"}
    give_hints(environment, "/user/alice/", tmp_path)
    assert environment == {**hints("/user/alice/"), "SPARK_LOCAL_IP": "127.0.0.2"}


def test_the_links_are_those_of_the_proxy() -> None:
    said = hints("/user/al%40ice/lab/")
    assert said["DASK_DISTRIBUTED__DASHBOARD__LINK"].format(port=8787) == "/user/al%40ice/lab/hpcsec/app/8787/status"
    assert said["TENSORBOARD_PROXY_URL"].replace("%PORT%", "6006") == "/user/al%40ice/lab/hpcsec/app/6006/"
