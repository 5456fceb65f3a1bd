"""From rules to a node's plan: what the node lacks is found out, and a file system that hangs holds nothing up."""

import os
import sys
import time
from pathlib import Path

import msgspec
import pytest

from jupyter_hpcsec.access import code
from jupyter_hpcsec.access.policy import parse
from jupyter_hpcsec.access.values import Bind, Code, Enforcement, Resolved, Right, Subject
from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.hub import node_plan
from jupyter_hpcsec.hub.node_plan import plan_for, why_no_namespaces
from jupyter_hpcsec.hub.runtime_directory import RuntimeDirectory
from tests.hub.standin import access_of


def rules(home: Path, more: str = "") -> Resolved:
    subject = Subject(user="alice", uid=os.geteuid(), gid=os.getegid(), home=str(home))
    text = f'version: 1\nrules:\n  - {{who: "*", allow: {{write: ["{{home}}"]}}{more}}}\n'
    return msgspec.structs.replace(parse(text.encode(), "policy.yaml").resolve(subject), code=Code(unsafe_any=True))


@pytest.fixture
def directory(tmp_path: Path) -> RuntimeDirectory:
    made = RuntimeDirectory(tmp_path / "r")
    made.temporary.mkdir(parents=True)
    return made


@pytest.mark.parametrize("program", ["import sys; sys.exit('AppArmor')", "import sys; sys.exit(3)"])
async def test_a_node_without_namespaces_says_why(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.setattr(node_plan, "probe_command", lambda: [sys.executable, "-I", "-c", program])
    assert await why_no_namespaces() in {"AppArmor", "the probe failed"}


async def test_with_namespaces_there_is_nothing_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_plan, "probe_command", lambda: [sys.executable, "-I", "-c", "pass"])
    assert await why_no_namespaces() == ""


async def test_the_probe_itself_runs() -> None:
    assert "Traceback" not in await why_no_namespaces()


async def test_a_denial_that_can_not_be_held_refuses_and_one_that_can_is_a_mask(
    tmp_path: Path, directory: RuntimeDirectory
) -> None:
    (tmp_path / "home" / "secret").mkdir(parents=True)
    found = rules(tmp_path / "home", f', deny: ["{tmp_path}/home/secret"]')
    with pytest.raises(Unavailable, match="user namespaces"):
        await plan_for(found, {}, directory, namespaces=False)
    plan = await plan_for(found, {}, directory, namespaces=True)
    assert [masked.path for masked in plan.masks] == [str(tmp_path / "home" / "secret")]
    assert plan.policy == found.policy and plan.enforcement is Enforcement.REQUIRED


async def test_the_home_is_all_that_the_rules_give(tmp_path: Path, directory: RuntimeDirectory) -> None:
    (tmp_path / "home").mkdir()
    plan = await plan_for(rules(tmp_path / "home"), {}, directory, namespaces=False)
    given = [root.path for root in plan.roots if root.right is Right.WRITE and root.origin.startswith("rule")]
    assert given == [str(tmp_path / "home")]


async def test_code_that_the_user_could_change_refuses(
    tmp_path: Path, directory: RuntimeDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").mkdir()
    open_code = rules(tmp_path / "home")
    closed = msgspec.structs.replace(open_code, code=Code())
    monkeypatch.setattr(code, "places", lambda: [str(tmp_path / "home")])
    (tmp_path / "home").chmod(0o777)
    with pytest.raises(Unavailable, match=f"would close this session in is not safe from its user: {tmp_path}/home "):
        await plan_for(closed, {}, directory, namespaces=False)
    assert (await plan_for(open_code, {}, directory, namespaces=False)).code == Code(unsafe_any=True)


async def test_without_a_policy_only_listening_is_held(directory: RuntimeDirectory) -> None:
    plan = await plan_for(msgspec.convert(access_of(Bind.NONE), Resolved), {}, directory, namespaces=True)
    assert plan.enforcement is Enforcement.ADVISORY and plan.network.bind is Bind.NONE and plan.roots == ()


async def test_a_file_system_that_does_not_answer(
    tmp_path: Path, directory: RuntimeDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_plan, "LOOK_LIMIT_S", 0.05)
    monkeypatch.setattr(node_plan, "find", lambda *given, **more: time.sleep(0.5))
    with pytest.raises(Unavailable, match="does not answer"):
        await plan_for(rules(tmp_path), {}, directory, namespaces=True)
