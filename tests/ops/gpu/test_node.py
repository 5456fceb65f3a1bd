"""Root's prolog and epilog on the stand-in, with a scontrol that writes down what it is asked."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from jupyter_hpcsec.cli.main import main
from jupyter_hpcsec.errors import Malformed, Refused, Unavailable
from jupyter_hpcsec.gpu.launch import read_map
from jupyter_hpcsec.gpu.node import WHATS, Expected
from jupyter_hpcsec.gpu.standin import GIB, STATE_VARIABLE, Gpu, process
from jupyter_hpcsec.ops.gpu.node import CLEAN, DRAINED, TOLD, Node
from tests.gpu.conftest import Write

ALL = frozenset(WHATS)
AS_SET = Expected()
TWO = [Gpu(0).line(), Gpu(1).line()]
GONE = (1 << 22) - 1
"""A pid that the driver names and that is not in /proc."""

Make = Callable[..., Node]


@pytest.fixture
def scontrol(tmp_path: Path) -> Path:
    path = tmp_path / "scontrol"
    path.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{tmp_path}/asked\nexit $(cat {tmp_path}/code 2>/dev/null)\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def make(tmp_path: Path, stand_in: Path, state: Write, scontrol: Path) -> Make:
    def node(gpus: str | None = "1", **more: object) -> Node:
        environment = {"SLURM_JOB_ID": "17", "SLURMD_NODENAME": "n1", STATE_VARIABLE: str(tmp_path / "state")}
        given = {} if gpus is None else {"SLURM_JOB_GPUS": gpus}
        facts = {"maps": tmp_path / "run" / "gpu", "stand_in": str(stand_in), "scontrol": str(scontrol), "euid": 0}
        said = more.pop("said", [])
        return Node(environment | given, said.append, **(facts | {"pause": lambda _: None} | more))  # type: ignore

    return node


def kept(node: Node) -> tuple[str, ...] | None:
    found = read_map("17", node.maps, frozenset([os.getuid()]))
    return found.devices if found else None


def test_for_root_alone_and_started_by_slurmd(make: Make) -> None:
    for run in (Node.prolog, lambda node: node.epilog(AS_SET, ALL, 0)):
        with pytest.raises(Refused, match="root"):
            run(make(euid=1000))
        with pytest.raises(Malformed, match="slurmd"):
            run(Node({}, print, euid=0))


def test_the_prolog_writes_the_map_that_the_watch_reads(make: Make, state: Write) -> None:
    state(*TWO)
    assert make().prolog() == CLEAN
    assert kept(make()) == (Gpu(1).uuid,)
    assert make(None).prolog() == CLEAN
    assert kept(make()) == (), "a job without GPUs has a map that says so"


def test_a_prolog_that_sees_no_gpu_or_would_guess_writes_nothing(make: Make, state: Write) -> None:
    state()
    with pytest.raises(Unavailable, match="shows none"):
        make().prolog()
    state(*TWO)
    with pytest.raises(Unavailable, match="GPU 5"):
        make("5").prolog()
    state(Gpu(0).line()[:-1] + "1", Gpu(1).line()[:-1] + "0")
    with pytest.raises(Refused, match="--numbers"):
        make().prolog()
    assert make(numbers="minor").prolog() == CLEAN
    assert kept(make()) == (Gpu(0).uuid,)


def test_a_prolog_that_fails_leaves_no_map(make: Make, state: Write) -> None:
    state(*TWO)
    with pytest.raises(Malformed):
        make("all").prolog()
    assert kept(make()) is None


def test_where_there_are_no_gpus_nothing_is_done(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jupyter_hpcsec.ops.gpu.node.present", lambda: ())
    bare = make(None, stand_in="")
    assert bare.prolog() == bare.epilog(AS_SET, ALL, 0) == CLEAN
    assert not bare.maps.exists()


def test_a_driver_that_hangs_or_does_not_start_is_said(make: Make, state: Write, tmp_path: Path) -> None:
    state(*TWO, "hang DeviceGetCount_v2 600")
    with pytest.raises(Unavailable, match="did not answer"):
        make(ask_s=3.0).prolog()
    said: list[str] = []
    assert make(stand_in=str(tmp_path / "none"), said=said).epilog(AS_SET, frozenset(), 0) == TOLD
    assert said[0].startswith("blind: job 17 can't be judged")


def test_a_clean_job_leaves_nothing_and_its_map_goes(make: Make, state: Write, tmp_path: Path) -> None:
    state(*TWO)
    make().prolog()
    assert make().epilog(AS_SET, ALL, 0) == CLEAN
    assert kept(make()) is None and not (tmp_path / "asked").exists()


def test_what_is_left_is_told_and_drains_by_policy(make: Make, state: Write, tmp_path: Path) -> None:
    state(*TWO)
    make().prolog()
    state(Gpu(0).line(), Gpu(1, used=GIB).line(), process(1, GONE, GIB))
    said: list[str] = []
    assert make(said=said).epilog(AS_SET, frozenset({"memory"}), 2) == TOLD
    assert said == [f"processes: process {GONE} is still on {Gpu(1).uuid}"]
    assert make(said=said).epilog(AS_SET, frozenset({"processes"}), 0) == DRAINED, "by slurmd's word, without a map"
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[:3] == ["update", "NodeName=n1", "State=DRAIN"]
    assert asked[3:] == [f"Reason=hpcsec gpu: job 17: process {GONE} is still on {Gpu(1).uuid}"]


def test_a_process_that_lets_go_meanwhile_is_no_finding(make: Make, state: Write) -> None:
    state(Gpu(0).line(), Gpu(1, used=GIB).line(), process(1, GONE, GIB))
    assert make(pause=lambda _: state(*TWO)).epilog(AS_SET, ALL, 1) == CLEAN


def test_an_epilog_that_is_blind_drains_by_policy_and_removes_the_map(make: Make, state: Write, tmp_path: Path) -> None:
    state(*TWO)
    make().prolog()
    state()
    assert make().epilog(AS_SET, frozenset({"blind"}), 5) == DRAINED
    assert "can't be judged" in (tmp_path / "asked").read_text()
    assert kept(make()) is None


def test_a_node_that_can_not_be_drained_is_an_error(make: Make, state: Write, tmp_path: Path) -> None:
    state()
    (tmp_path / "code").write_text("1")
    with pytest.raises(Unavailable, match="scontrol says 1"):
        make().epilog(AS_SET, ALL, 0)
    with pytest.raises(Unavailable, match="could not be drained"):
        make(scontrol=str(tmp_path / "none")).epilog(AS_SET, ALL, 0)
    nameless = make()
    with pytest.raises(Malformed, match="SLURMD_NODENAME"):
        Node({**nameless.environment, "SLURMD_NODENAME": "n1 State=RESUME"}, print, maps=nameless.maps,
             stand_in=nameless.stand_in, euid=0).epilog(AS_SET, ALL, 0)  # fmt: skip


def test_the_command(
    make: Make, state: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    state(Gpu(0).line())
    ready = make("0")
    for name, value in ready.environment.items():
        monkeypatch.setenv(name, value)
    words = ["--maps", str(ready.maps), "--stand-in", ready.stand_in]
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(["gpu", "node", "prolog", *words]) == 1
    assert "root's part" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["gpu", "node", "epilog", "--drain", "everything"])
    with pytest.raises(SystemExit, match="2"):
        main(["gpu", "node", "epilog", "--wait", "-1"])


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as slurmd's scripts have it")
def test_the_command_as_root(make: Make, state: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    state(Gpu(0).line(), "mode 0 0 3")
    ready = make("0")
    for name, value in ready.environment.items():
        monkeypatch.setenv(name, value)
    words = ["--maps", str(ready.maps), "--stand-in", ready.stand_in]
    assert main(["gpu", "node", "prolog", *words]) == CLEAN
    assert kept(ready) == (Gpu(0).uuid,)
    asked = [
        "--scontrol",
        ready.scontrol,
        "--wait",
        "0",
        "--drain",
        "posture",
        "--persistence",
        "on",
        "--compute-mode",
        "exclusive",
    ]
    assert main(["gpu", "node", "epilog", *words, *asked]) == DRAINED
    assert "persistence mode is off" in (tmp_path / "asked").read_text()
