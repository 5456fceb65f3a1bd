"""The quickstart on the development cluster: a real Slurm, MUNGE's word, a node's ports seen from inside (root)."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_hpcsec.ops.cluster import Cluster
from tests.e2e.clusteruse import cluster_use
from tests.e2e.quickstartrun import Ended, files, run, short_directory

pytestmark = [pytest.mark.e2e, pytest.mark.slurm, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Nobody else uses it meanwhile: its one gateway port is ours."""
    with cluster_use() as cluster:
        yield cluster


@pytest.fixture
def place() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory


def jobs(cluster: Cluster) -> list[str]:
    environment = {"SLURM_CONF": str(cluster.slurm_conf), "PATH": "/usr/bin:/bin"}
    return subprocess.check_output(["squeue", "--noheader"], env=environment, text=True).splitlines()


def checked(ended: Ended) -> None:
    report = ended.report()
    assert report["errors"] == [] and report["ok"] and ended.status == 0, ended.output
    assert report["listeners"] == []
    assert {"attestation", "separate-users"} <= report["protections"]["on"].keys()
    assert report["versions"]["slurm"].startswith("slurm") and report["versions"]["munge"].startswith("munge")
    assert any("node1" in line or "node2" in line for line in report["progress"])


def test_a_signal_leaves_no_job_in_a_cluster_that_stays(cluster: Cluster, place: Path) -> None:
    cluster.up()
    for line in ("session .*Handing the job", "session .*Starting the notebook server", "check .*lab:"):
        ended = run(place, "--check", "--json", "--slurm", signals=[(line, signal.SIGINT, 1)])
        assert not ended.unsent and ended.status == 130 and ended.left == [] and files(place) == ["h", "t"]
        assert jobs(cluster) == []
    checked(run(place, "--check", "--json", "--slurm"))
    assert jobs(cluster) == [] and cluster.status().ok


def test_a_cluster_that_was_absent_is_absent_again(cluster: Cluster, place: Path) -> None:
    cluster.down()
    ended = run(place, "--check", "--json", "--slurm", signals=[("hub .*starts", signal.SIGINT, 1)])
    assert ended.status == 130 and ended.left == [] and not cluster.status().is_up
    checked(run(place, "--check", "--json", "--slurm"))
    assert not cluster.status().is_up and files(place) == ["h", "t"]
