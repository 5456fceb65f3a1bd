"""Our parts come into a server over a user's configuration, and a server that lacks its rules does not start."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_hpcsec.access.gate import ACCESS_VARIABLE
from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.server.wiring import CANNOT_START, wait_for_rules
from tests.server.realserver import RealServer, rules


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RealServer]:
    made = RealServer(tmp_path)
    yield made
    made.stop()


async def test_a_server_without_the_rules_that_it_should_have_ends_and_says_why(server: RealServer) -> None:
    (server.private / "none").write_bytes(b'{"rules": {}}')
    await server.start(None, wait=False, **{ACCESS_VARIABLE: str(server.private / "none")})
    assert server.process is not None
    assert server.process.wait(60) == CANNOT_START
    assert "The session's access rules are not in this version's form" in server.log


async def test_a_user_who_configures_other_kernels_and_provisioners_gets_ours(server: RealServer) -> None:
    config = "c.KernelProvisionerFactory.default_provisioner_name = 'local-provisioner'\n"
    await server.start(rules(server.home), config=config)
    kernel = await server.client.start_kernel()
    said = await server.client.run(kernel, "import os; print(os.environ['JUPYTER_HPCSEC_KERNEL'])")
    assert said == f"{kernel}\n"


def test_rules_that_do_not_come_are_waited_for_and_then_missed(tmp_path: Path) -> None:
    times = iter(range(100))
    slept: list[float] = []
    with pytest.raises(Unavailable, match="can't be read"):
        wait_for_rules(
            {ACCESS_VARIABLE: str(tmp_path / "none")}, limit_s=5, sleep=slept.append, clock=lambda: next(times)
        )
    assert len(slept) == 4
    assert wait_for_rules({}, sleep=slept.append) is None
    assert len(slept) == 4, "nothing to wait for"
