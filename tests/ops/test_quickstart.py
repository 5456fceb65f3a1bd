"""The quickstart's own decisions: what it refuses before it starts, where its state goes, and that the state goes."""

import asyncio
import io
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jupyter_hpcsec.cli.main import build_parser
from jupyter_hpcsec.errors import Refused, Unavailable
from jupyter_hpcsec.ops import quickstart as module
from jupyter_hpcsec.ops.console import Console
from jupyter_hpcsec.ops.demo_spawner import QuickstartSpawner
from jupyter_hpcsec.ops.quickstart import Demo, Settings, find_proxy, make_state, news, remove_state, run_demo


def program(directory: Path, name: str) -> None:
    path = directory / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)


@pytest.mark.parametrize("words", [["--port", "0"], ["--port", "65536"], ["--port", "x"], ["--no-such"]])
def test_wrong_arguments_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        build_parser("quickstart").parse_args(["quickstart", *words])
    assert ended.value.code == 2 and "usage" in capsys.readouterr().err


async def test_slurm_needs_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Refused, match="root"):
        await run_demo(Settings(slurm=True), Console(io.StringIO()), {}, lambda demo: asyncio.sleep(0))


def test_without_proxy_or_node_the_fix_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.prefix", str(tmp_path / "venv"))
    monkeypatch.setattr(module, "__file__", str(tmp_path / "a" / "b" / "c.py"))
    with pytest.raises(Unavailable, match="make demo"):
        find_proxy(str(tmp_path))
    program(tmp_path, "configurable-http-proxy")
    with pytest.raises(Unavailable, match=r"Node\.js"):
        find_proxy(str(tmp_path))
    program(tmp_path, "node")
    assert find_proxy(str(tmp_path)) == (str(tmp_path / "configurable-http-proxy"),)


def test_the_proxy_beside_the_environment_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.prefix", str(tmp_path / ".venv"))
    monkeypatch.setattr(module, "__file__", str(tmp_path / "a" / "b" / "c.py"))
    tools = tmp_path / ".tools" / "node_modules" / ".bin"
    tools.mkdir(parents=True)
    program(tools, "configurable-http-proxy")
    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin", "node")
    assert find_proxy(str(tmp_path / "bin")) == (str(tools / "configurable-http-proxy"),)


@pytest.mark.parametrize("unfit", ["/tmp/" + "x" * 20, "/TMP", "/proc", "/no/such"])
def test_a_place_that_is_unfit_for_sockets_is_passed_over(unfit: str) -> None:
    with pytest.raises(Unavailable, match="short"):
        make_state((unfit,))
    state = make_state((unfit, "/tmp"))
    try:
        assert state.parent == Path("/tmp") and state.stat().st_mode & 0o777 == 0o700
    finally:
        state.rmdir()


def test_the_state_goes_whatever_is_in_it(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    state = tmp_path / "state"
    (state / "closed" / "deep").mkdir(parents=True)
    (state / "closed" / "deep" / "file").touch(mode=0o000)
    (state / "link").symlink_to(outside)
    (state / "closed" / "deep").chmod(0o000)
    (state / "closed").chmod(0o500)
    remove_state(state)
    assert not state.exists() and (outside / "kept").exists()


async def test_stopping_what_never_started_does_nothing() -> None:
    out = io.StringIO()
    await Demo(Settings(), Console(out), {}).stop(asyncio.Event())
    assert out.getvalue() == ""


@pytest.mark.parametrize("ask", [lambda demo: demo.plan, lambda demo: demo.family], ids=["plan", "family"])
def test_asking_before_the_start_is_a_bug(ask: Callable[[Demo], Any]) -> None:
    with pytest.raises(AssertionError, match="BUG"):
        ask(Demo(Settings(), Console(io.StringIO()), {}))


async def test_blocking_work_is_waited_for_when_cancelled() -> None:
    begun, may_end, ended = asyncio.Event(), asyncio.Event(), []
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(may_end.wait(), loop).result()
        ended.append(True)

    task = asyncio.ensure_future(module._to_its_end(work))
    await begun.wait()
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [True]


def session(name: str, state: str, node: str = "") -> dict[str, Any]:
    return {"id": name, "user": "ada", "state": state, "node": node}


def test_people_hear_each_change_once() -> None:
    states, lines = news({}, [session("1", "waiting")])
    assert lines == ["ada: waiting"]
    states, lines = news(states, [session("1", "waiting")])
    assert lines == []
    states, lines = news(states, [session("1", "ready", "node1")])
    assert lines == ["ada: ready on node1"]
    assert news(states, []) == ({}, ["ada: ended"])


def test_the_demo_spawner_is_the_account_of_the_hub_in_the_demos_home(tmp_path: Path) -> None:
    auditor = QuickstartSpawner(demo_home=str(tmp_path), demo_user="ada", user=SimpleNamespace(name="auditor"))
    with pytest.raises(Refused, match="has no server"):
        auditor.account()
    account = QuickstartSpawner(demo_home=str(tmp_path), demo_user="ada", user=SimpleNamespace(name="ada")).account()
    assert account.uid == os.geteuid() and account.home == tmp_path
    assert Path(account.shell).name not in {"nologin", "false", ""}
