"""The gateway as a process: bad configurations are refused with the file's name; signals reload and stop it."""

import asyncio
import logging
import os
import signal
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from jupyter_hpcsec.errors import Malformed, Refused, Unavailable
from jupyter_hpcsec.hub.gateway_service import load_settings, make_attestors, run, serve
from jupyter_hpcsec.hub.revision import Revision
from jupyter_hpcsec.tunnel.admin import AdminClient
from tests.hub.rules import NOBODY, write_policy


def config_file(directory: Path, text: str = "", *, port: int = 0) -> Path:
    path = directory / "gateway_config.py"
    path.write_text(
        f"c.HpcsecGateway.listen = ['127.0.0.1:{port}']\n"
        "c.HpcsecGateway.public_endpoints = ['hub.example:8443']\n"
        f"c.HpcsecGateway.state_directory = {str(directory / 'state')!r}\n"
        f"c.HpcsecGateway.run_directory = {str(directory / 'run')!r}\n"
        "c.HpcsecGateway.attestors = ['none']\n"
        "c.HpcsecGateway.unsafe_no_attestation = True\n"
        "c.HpcsecGateway.unsafe_no_access_control = True\n" + text
    )
    return path


@pytest.fixture
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short lower-case path, as the run directory has to be."""
    return tmp_path_factory.mktemp("g")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("c.HpcsecGateway.lisen = []", r"no setting lisen"),
        ("c.HpcsecGateway.heartbeat_s = 0", r"heartbeat_s"),
        ("c.HpcsecGateway.attestors = ['schedular']", r"schedular"),
        ("c.HpcsecGateway.public_endpoints = []", r"public_endpoints"),
        ("c.HpcsecGateway.listen = [", r"SyntaxError"),
        ("import nowhere_at_all", r"nowhere_at_all"),
        ("1 / 0", r"ZeroDivisionError"),
    ],
)
def test_configurations_that_are_refused(directory: Path, text: str, said: str) -> None:
    with pytest.raises(Malformed, match=said) as error:
        load_settings(config_file(directory, text))
    assert "gateway_config.py" in error.value.reason


def test_a_configuration_that_is_not_there(directory: Path) -> None:
    with pytest.raises(Malformed, match=r"no configuration file"):
        load_settings(directory / "nothing.py")


def test_a_configuration_is_read(directory: Path) -> None:
    settings = load_settings(config_file(directory, "c.HpcsecGateway.lanes_per_session = 5\n"))
    assert settings.limits.lanes_per_session == 5


def test_attestors_come_in_the_order_of_the_configuration() -> None:
    names = ("munge", "scheduler")
    assert tuple(each.name for each in make_attestors(names, compares_node_address=True)) == names


async def test_it_serves_reloads_and_stops(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    settings = load_settings(config_file(directory))
    ready = asyncio.Event()
    serving = asyncio.create_task(serve(settings, logging.getLogger("test.service"), ready=ready))
    await asyncio.wait_for(ready.wait(), 20)
    status = await AdminClient(settings.admin_socket).status()
    assert status["attestors"] == ["none"]
    assert "ATTESTATION IS OFF" in caplog.text
    assert stat.S_IMODE(settings.state_directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(settings.admin_socket.stat().st_mode) == 0o600
    os.kill(os.getpid(), signal.SIGHUP)
    async with asyncio.timeout(60):
        while "reading the keys and the policy anew" not in caplog.text:
            await asyncio.sleep(0.01)
    assert (await AdminClient(settings.admin_socket).status())["ca"] == status["ca"]
    (settings.state_directory / "keys").chmod(0o755)  # keys that others may have read are not taken over
    os.kill(os.getpid(), signal.SIGHUP)
    async with asyncio.timeout(60):
        while "the keys in memory stay as they are" not in caplog.text:
            await asyncio.sleep(0.01)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(serving, 60)
    with pytest.raises(Unavailable):
        await AdminClient(settings.admin_socket).status()


async def test_it_refuses_without_a_policy_and_follows_one(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    policy = directory / "policy.yaml"
    more = f"c.HpcsecGateway.unsafe_no_access_control = False\nc.HpcsecGateway.policy_file = {str(policy)!r}\n"
    settings = load_settings(config_file(directory, more))
    ready = asyncio.Event()
    serving = asyncio.create_task(serve(settings, logging.getLogger("test.service"), ready=ready))
    await asyncio.wait_for(ready.wait(), 20)
    client = AdminClient(settings.admin_socket)
    who: dict[str, Any] = {
        "user": "alice", "server": "", "uid": 7, "lifetime_s": 60, "home": "/home/alice",
        "launch": {"argv": ["x"], "env": {}, "base_url": "/"},
    }  # fmt: skip
    with pytest.raises(Refused) as refusal:
        await client.register(**who)
    assert refusal.value.rule == "policy.unusable"
    assert "No such file" in (await client.status())["policy"]["error"]
    write_policy(policy, NOBODY)
    with pytest.raises(Refused) as refusal:
        await client.register(**who)
    assert refusal.value.rule == "access.no-rule"
    write_policy(policy)
    assert (await client.register(**who)).session
    digest = (await client.status())["policy"]["digest"]
    assert f"loaded, sha256 {digest}" in caplog.text and "ACCESS CONTROL IS OFF" not in caplog.text
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(serving, 60)


async def test_a_gateway_that_can_not_revoke_any_more_stops(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(self: Revision) -> None:
        raise RuntimeError("BUG: in a test")

    monkeypatch.setattr(Revision, "look", fail)
    with pytest.raises(RuntimeError, match="in a test"):
        await asyncio.wait_for(serve(load_settings(config_file(directory)), logging.getLogger("test.service")), 20)


async def test_a_state_directory_that_others_may_enter(directory: Path) -> None:
    settings = load_settings(config_file(directory))
    settings.state_directory.mkdir(mode=0o755)
    with pytest.raises(Refused, match=r"chmod 0700"):
        await serve(settings, logging.getLogger("test.service"))


async def test_a_second_gateway_on_the_same_port(directory: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as held:
        settings = load_settings(config_file(directory, port=held.getsockname()[1]))
        with pytest.raises(Unavailable, match=r"can't listen"):
            await serve(settings, logging.getLogger("test.service"))


async def test_as_a_process_of_its_own(directory: Path) -> None:
    program = "import sys; from pathlib import Path; from jupyter_hpcsec.hub.gateway_service import run; "
    path = config_file(directory)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program + "sys.exit(run(Path(sys.argv[1])))", str(path), stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr
    async with asyncio.timeout(30):
        while b"listens on 127.0.0.1:" not in await process.stderr.readline():
            pass
    process.terminate()
    assert await asyncio.wait_for(process.wait(), 60) == 0


def test_what_the_system_does_not_let_it_do_is_said(directory: Path) -> None:
    (directory / "run").write_text("a file in the way")
    with pytest.raises(Unavailable, match=r"can't run"):
        run(config_file(directory))
