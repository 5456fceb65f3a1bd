"""The two sites: what each settles, and that a cluster that was there before stays."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.ops.ports import claim
from jupyter_hpcsec.ops.session_ports import View
from jupyter_hpcsec.ops.sites import ClusterSite, LocalSite, choose_site


class StandIn:
    """A cluster that only remembers what was asked of it."""

    def __init__(
        self, *, is_up: bool, answer: str = '{"agents": 0, "processes": 0, "ports": []}', status: int = 0
    ) -> None:
        self.is_up, self.answer, self.answer_status = is_up, answer, status
        self.asked: list[str] = []
        self.commands: list[list[str]] = []
        self.head_address, self.gateway_port, self.nodes = "10.0.0.1", 8443, ("node1", "node2")
        self.slurm_conf, self.environment = Path("/c/slurm.conf"), Path("/c/env")

    def status(self) -> Any:
        return SimpleNamespace(is_up=self.is_up)

    def up(self, *, say: Any) -> None:
        self.asked.append("up")

    def down(self) -> None:
        self.asked.append("down")

    def node_exec(self, node: str, argv: list[str]) -> Any:
        self.commands.append([node, *argv])
        return SimpleNamespace(returncode=self.answer_status, stdout=self.answer, stderr="no such node")


def site(**facts: Any) -> tuple[ClusterSite, StandIn]:
    cluster = StandIn(**facts)
    return ClusterSite(cluster=cluster), cluster  # type: ignore[arg-type]


@pytest.mark.parametrize(("is_up", "asked"), [(True, ["up"]), (False, ["up", "down"])])
def test_only_a_cluster_that_we_brought_up_goes_down(is_up: bool, asked: list[str]) -> None:
    one, cluster = site(is_up=is_up)
    one.open(lambda text: None)
    one.close()
    assert cluster.asked == asked


def test_what_was_never_opened_is_not_closed() -> None:
    one, cluster = site(is_up=False)
    one.cancel({"7"})
    one.close()
    assert cluster.asked == []


def test_nodes_that_do_not_answer_prove_nothing() -> None:
    one, _ = site(is_up=True, status=1)
    with pytest.raises(Unavailable, match="no such node"):
        one.look({"7"}, [])


def test_every_node_is_looked_at_for_our_jobs_only() -> None:
    one, cluster = site(is_up=True, answer='{"agents": 1, "processes": 4, "ports": [{"port": 80}]}')
    seen = one.look({"8", "7"}, [])
    assert seen == View(2, 8, [{"node": "node1", "port": 80}, {"node": "node2", "port": 80}])
    assert [command[-2:] for command in cluster.commands] == [["7", "8"]] * 2
    assert cluster.commands[0][:2] == ["node1", "/c/env/bin/python"]


def test_the_cluster_is_attested_and_the_local_site_is_not() -> None:
    one, _ = site(is_up=True)
    one.open(lambda text: None)
    assert one.attestors == ("scheduler", "munge") and one.gateway == "10.0.0.1:8443"
    assert one.variables == {"SLURM_CONF": "/c/slurm.conf"}
    local = LocalSite()
    local.open(lambda text: None)
    assert local.attestors == ("none",) and local.gateway.startswith("127.0.0.1:")
    port = int(local.gateway.rpartition(":")[2])
    assert claim(port) is None
    local.close()
    with claim(port) or pytest.fail("the port is still held"):
        pass


def test_the_local_site_keeps_to_the_state_directory(tmp_path: Path) -> None:
    (settings,) = LocalSite().spawner_settings(tmp_path, tmp_path / "admin.sock").values()
    assert settings["demo_home"] == str(tmp_path / "home")
    assert {"TMPDIR", "HPCSEC_LOCALJOB_DIR"} <= set(settings["batch_env_keep"])


def test_a_site_is_chosen() -> None:
    assert isinstance(choose_site(slurm=True), ClusterSite) and isinstance(choose_site(slurm=False), LocalSite)
