"""The gateway as a service that the hub starts: killed, it is started again by the hub, and nobody's kernel ends.

The service's entry is the one that stands, commented, in the production configuration.
"""

import os
import re
import signal
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from jupyter_hpcsec.errors import HpcsecError
from jupyter_hpcsec.hub.processes import descendants, processes
from jupyter_hpcsec.ops.demo_plan import render
from jupyter_hpcsec.ops.ports import LOOPBACK, Claim, claim_any
from jupyter_hpcsec.ops.sites import LocalSite
from jupyter_hpcsec.tunnel.admin import AdminClient
from tests.e2e.person import Kernel, Person
from tests.e2e.quickstartrun import short_directory
from tests.e2e.site import PRODUCTION, wait_until
from tests.e2e.smallhub import SmallHub
from tests.e2e.test_survival import command_line, eventually, is_closed, remembers
from tests.hub.rules import write_policy

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

BACK_WITHIN_S = 60.0
"""JupyterHub looks after its services every 30 s, and a gateway needs seconds to start."""


def managed_service(config: Path) -> str:
    """The commented entry of the production configuration, for this computer's program and ``config``."""
    found = re.search(r"^# c\.JupyterHub\.services\.append\(\n(?:#.*\n)*?# \)\n", PRODUCTION.read_text(), re.MULTILINE)
    assert found
    entry = re.sub(r"^# ?", "", found[0], flags=re.MULTILINE)
    program = str(Path(sys.executable).parent / "hpcsec")
    for here, there in (("/opt/jupyterhub/bin/hpcsec", program), ("/etc/hpcsec/hpcsec_gateway_config.py", str(config))):
        assert entry.count(here) == 1
        entry = entry.replace(here, there)
    return entry


class ManagedHub(SmallHub):
    """A hub that starts the gateway, and servers as ``hpcsec-local`` starts them."""

    def __init__(self, directory: Path) -> None:
        self.admin_socket = directory / "run" / "admin.sock"
        config = directory / "gateway.py"
        spawner = render(LocalSite().spawner_settings(directory, self.admin_socket)).partition("\n")[2]
        super().__init__(
            directory,
            textwrap.dedent(
                f"""
                c.JupyterHub.spawner_class = {LocalSite.spawner!r}
                c.QuickstartSpawner.node_python = {sys.executable!r}
                c.Spawner.poll_interval = 2
                """
            )
            + f"{managed_service(config)}{spawner}",
        )
        self._gateway_claim: Claim = claim_any()
        listen = [f"{LOOPBACK}:{self._gateway_claim.port}"]
        settings = {
            "listen": listen,
            "public_endpoints": listen,
            "state_directory": str(directory / "state"),
            "run_directory": str(directory / "run"),
            "hub_api_url": self.api_url,
            "attestors": ["none"],
            "unsafe_no_attestation": True,
            "unsafe_user_owned_code": True,
            "policy_file": str(write_policy(directory / "policy.yaml")),
            "heartbeat_s": 2,
            "dead_after_s": 8,
        }
        config.write_text(render({"HpcsecGateway": settings}))
        for name in ("home", "jobs"):
            (directory / name).mkdir(mode=0o700)

    def gateways(self) -> list[int]:
        """The gateways of this test, the hub's or left over."""
        config = os.fsencode(self.directory / "gateway.py")
        return [pid for pid, each in processes().items() if not each.is_zombie and config in command_line(pid)]

    def is_the_hubs(self, pid: int) -> bool:
        return pid in descendants(self.hub.pid, processes())

    def jobs(self) -> list[str]:
        """The local jobs that have not ended."""
        states = (self.directory / "jobs").glob("*/state.json")
        return [path.parent.name for path in states if '"RUNNING"' in path.read_text()]

    def stop(self) -> None:
        super().stop()
        for pid in self.gateways():
            os.kill(pid, signal.SIGKILL)
        self._gateway_claim.close()


@pytest.fixture
def hub() -> Iterator[ManagedHub]:
    with short_directory() as directory:
        hub = ManagedHub(directory)
        try:
            yield hub.start()
        finally:
            hub.api("DELETE", "/users/alice/server")
            wait_until(lambda: not hub.jobs(), "no job is left")
            hub.hub.end()  # and its gateway with it
            hub.stop()


@pytest.fixture
async def alice(hub: ManagedHub) -> AsyncIterator[Person]:
    someone = Person(SimpleNamespace(url=hub.url, gateway=AdminClient(hub.admin_socket)), "alice")  # type: ignore[arg-type]
    await someone.log_in()
    yield someone
    await someone.browser.close()


async def working(alice: Person) -> Kernel:
    await alice.start()
    kernel = await alice.kernel()
    await kernel.run("x = 41")
    return kernel


async def test_a_gateway_that_the_hub_manages_is_started_again_and_finds_the_kernel(
    hub: ManagedHub, alice: Person
) -> None:
    kernel = await working(alice)
    session = await alice.session()
    (first,) = hub.gateways()
    os.kill(first, signal.SIGKILL)
    await is_closed(kernel)
    with pytest.raises(HpcsecError):
        await alice.browser.fetch("GET", f"{alice.base()}api/kernels")
    await eventually(lambda: remembers(kernel), "the hub has started the gateway again", BACK_WITHIN_S)
    (second,) = hub.gateways()
    assert second != first and hub.is_the_hubs(second)
    assert "Service hpcsec-gateway exited with status -9" in hub.hub.text()

    # It stops and starts with the hub; the job and its kernel do neither.
    hub.hub.end(signal.SIGTERM)
    assert not Path(f"/proc/{second}").exists()
    await is_closed(kernel)
    hub.hub.start()
    hub.wait_up()
    await eventually(lambda: remembers(kernel), "hub and gateway are back", BACK_WITHIN_S)
    after = await alice.session()
    assert [after[name] for name in ("id", "job_id", "serial")] == [session[n] for n in ("id", "job_id", "serial")]
    kernel.close()


async def test_a_killed_hub_leaves_its_gateway_and_the_next_one_takes_over_when_that_ends(
    hub: ManagedHub, alice: Person
) -> None:
    kernel = await working(alice)
    (orphan,) = hub.gateways()
    hub.restart(hub.hub, signal.SIGKILL)
    assert await kernel.run("print(x)") == "41", "nobody who works notices"
    wait_until(lambda: "can't listen on" in hub.hub.text(), "the new hub's gateway finds the port taken")
    assert orphan in hub.gateways() and not hub.is_the_hubs(orphan)
    os.kill(orphan, signal.SIGTERM)
    await is_closed(kernel)
    await eventually(lambda: remembers(kernel), "the hub's own gateway serves", BACK_WITHIN_S)
    (own,) = hub.gateways()
    assert hub.is_the_hubs(own)
    kernel.close()
