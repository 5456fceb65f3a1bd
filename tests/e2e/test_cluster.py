"""The development cluster for real: munge, slurmctld and two slurmd on this machine (root, Debian packages).

Each refusal is shown to be the firewall's: its counter rises, and the same port answers inside the node.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jupyter_hpcsec.errors import HpcsecError, Unavailable
from jupyter_hpcsec.ops import cluster_system as system
from jupyter_hpcsec.ops.cluster import Cluster
from tests.e2e.clusteruse import cluster_use

pytestmark = [pytest.mark.e2e, pytest.mark.slurm, pytest.mark.timeout(300)]

LISTENER = (
    "import socket, sys\n"
    "family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET\n"
    "s = socket.create_server((sys.argv[1], 0), family=family)\n"
    "print(s.getsockname()[1], flush=True)\n"
    "while True: s.accept()[0].sendall(b'reached')\n"
)
DIAL = (
    "import socket, sys\n"
    "try:\n"
    "    where = sys.argv[1], int(sys.argv[2])\n"
    "    with socket.create_connection(where, timeout=float(sys.argv[3])) as s: print(s.recv(99).decode())\n"
    "except TimeoutError: print('no answer')\n"
    "except OSError as error: print(error.strerror)\n"
)
PYTHON = "/usr/bin/python3"
SPACES = ("net", "mnt", "pid", "uts", "ipc", "cgroup")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Up, and left as it was found: other tests may be using it."""
    with cluster_use() as cluster:
        cluster.up()
        yield cluster


def as_user(user: str, cluster: Cluster, *argv: str, timeout_s: float = 60) -> system.Completed:
    """A command of a user on the head."""
    entry = system.account(user)
    assert entry is not None
    words = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--", "env", f"--chdir={entry.pw_dir}"]
    variables = {"SLURM_CONF": str(cluster.slurm_conf), "HOME": entry.pw_dir, "USER": user}
    return system.run([*words, *argv], check=False, env=variables, timeout_s=timeout_s)


@contextmanager
def listener(cluster: Cluster, node: str, address: str, user: str | None = None) -> Iterator[int]:
    """A TCP service on a node; its port."""
    argv = cluster.node_command(node, [PYTHON, "-c", LISTENER, address], user=user)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


def dial(
    cluster: Cluster, where: str, address: str, port: int, user: str | None = None, *, patience_s: float = 30
) -> str:
    """What a connection attempt from ``where`` (a node, or ``head``) gets: ``reached`` or the reason.

    Whether a packet was dropped is what the counters say; how long none is waited for, ``patience_s``, says nothing.
    """
    words = [PYTHON, "-c", DIAL, address, str(port), str(patience_s)]
    done = system.run(words) if where == "head" else cluster.node_exec(where, words, user)
    return done.stdout.strip()


def namespaces(pid: int | str) -> dict[str, str]:
    return {name: str(Path(f"/proc/{pid}/ns/{name}").readlink()) for name in SPACES}


def held_namespaces() -> set[str]:
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found |= set(namespaces(entry.name).values())
            except OSError:
                continue
    return found


def init_pid(cluster: Cluster, node: str) -> int:
    command = cluster.node_command(node, ["true"])
    return int(next(word for word in command if word.startswith("--target=")).removeprefix("--target="))


def machine() -> dict[str, set[str]]:
    """What a cluster could leave behind on this machine."""
    programs = ("munged", "slurmctld", "slurmd", "slurmstepd", "srun")
    found = {name: {str(pid) for pid in system.processes_of(name)} for name in programs}
    found["init"] = {
        str(pid) for pid in system.processes_of(Path(sys.executable).name, "jupyter_hpcsec.ops.cluster_node")
    }
    found["netns"] = set(system.run(["ip", "netns"]).stdout.splitlines())
    found["links"] = set(re.findall(r"^\d+: ([^:@]+)", system.run(["ip", "-o", "link"]).stdout, re.MULTILINE))
    found["mounts"] = {f"{mount.point} {mount.kind}" for mount in system.mounts()}
    found["cgroups"] = {str(path) for path in Path("/sys/fs/cgroup").glob("**/*hpcsec*")}
    found["sockets"] = {str(path) for path in Path("/run/munge").glob("*")}
    return found


def test_down_leaves_nothing(cluster: Cluster) -> None:
    cluster.down()
    before = machine()
    cluster.up()
    up = machine()
    spaces = {space for node in cluster.nodes for space in namespaces(init_pid(cluster, node)).values()}
    spaces -= set(namespaces("self").values())
    assert len(spaces) == len(SPACES) * 2
    job = as_user("alice", cluster, "sbatch", "--parsable", "-w", "node1", "--wrap", "setsid -f sleep 600; sleep 600")
    assert job.returncode == 0, job.stderr
    cluster.down()
    for what in ("munged", "slurmctld", "slurmd", "init", "netns", "links", "cgroups"):
        assert len(up[what]) > len(before[what]), f"this test would not see {what} that was left"
    assert machine() == before
    assert not spaces & held_namespaces()
    assert not cluster.status().is_up
    cluster.down()  # a second time: nothing to do, no error
    cluster.up()
    assert as_user("alice", cluster, "squeue", "-h").stdout == ""  # no job came back from before


def test_a_second_up_changes_nothing_and_says_so(cluster: Cluster) -> None:
    before = machine(), {node: init_pid(cluster, node) for node in cluster.nodes}
    assert cluster.up() == ()
    assert (machine(), {node: init_pid(cluster, node) for node in cluster.nodes}) == before
    done = system.run([sys.executable, "-m", "jupyter_hpcsec.cli.main", "cluster", "up"], check=False)
    assert done.returncode == 0, done.stderr
    assert "nothing to change" in done.stdout


def test_status_is_green_and_also_json(cluster: Cluster) -> None:
    command = [sys.executable, "-m", "jupyter_hpcsec.cli.main", "cluster", "status"]
    done = system.run([*command, "--json"], check=False)
    assert done.returncode == 0, done.stdout
    value = json.loads(done.stdout)
    assert value["ok"]
    assert {part["state"] for part in value["parts"]} <= {"green", "warning"}
    assert value["addresses"]["head"] == cluster.head_address
    assert "red" not in system.run(command, check=False).stdout


def test_a_second_cluster_beside_this_one_is_refused(cluster: Cluster) -> None:
    another = Cluster(Path("/var/lib/hpcsec-another-cluster"))
    with pytest.raises(HpcsecError, match=f"hpcsec cluster down --state {cluster.state}"):
        another.up()
    assert not another.state.exists()
    with pytest.raises(Unavailable, match="hpcsec cluster up"):
        another.environment  # noqa: B018
    assert cluster.up() == ()


def test_jobs_of_a_user_run_on_the_node_asked_for(cluster: Cluster) -> None:
    refused = as_user("alice", cluster, "srun", "-w", "node9", "hostname")
    assert refused.returncode != 0
    done = as_user("alice", cluster, "srun", "-w", "node2", "sh", "-c", "hostname; id -un")
    assert done.stdout.split() == ["node2", "alice"], done.stderr
    done = as_user("bob", cluster, "sbatch", "--wait", "-w", "node2", "-o", "job.out", "--wrap", "hostname; id -un")
    assert done.returncode == 0, done.stderr
    bob = system.account("bob")
    assert bob is not None
    assert (Path(bob.pw_dir) / "job.out").read_text().split() == ["node2", "bob"]


def test_the_environment_is_readable_and_not_writable_for_jobs(cluster: Cluster) -> None:
    python = str(cluster.environment / "bin" / "python")
    code = "import jupyter_hpcsec, jupyterlab, os; print(os.access(jupyter_hpcsec.__file__, os.W_OK))"
    done = as_user("carol", cluster, "srun", python, "-I", "-c", code)
    assert done.stdout.strip() == "False", done.stderr


def test_gpus_are_counted(cluster: Cluster) -> None:
    refused = as_user("alice", cluster, "srun", "--gres=gpu:9", "true")
    assert refused.returncode != 0
    assert "node configuration is not available" in refused.stderr
    done = as_user("alice", cluster, "srun", "--gres=gpu:2", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES")
    assert done.stdout.strip() == "0,1", done.stderr
    assert as_user("alice", cluster, "sbatch", "--wait", "--gres=gpu:1", "--wrap", "true").returncode == 0


@pytest.mark.parametrize("address", ["address", "address6"])
@pytest.mark.parametrize(("source", "user"), [("head", None), ("node2", None), ("node2", "bob")])
def test_nothing_on_a_node_can_be_dialled(cluster: Cluster, address: str, source: str, user: str | None) -> None:
    where = getattr(cluster.plan.node("node1"), address)
    with listener(cluster, "node1", where, "alice") as port:
        before = cluster.counters("node1")["in_dropped"], cluster.counters("node2")["out_refused"]
        answer = dial(cluster, source, where, port, user, patience_s=1)
        assert answer in {"no answer", "Connection refused"}
        after = cluster.counters("node1")["in_dropped"], cluster.counters("node2")["out_refused"]
        assert after[0 if source == "head" else 1] > before[0 if source == "head" else 1]
        assert dial(cluster, "node1", where, port) == "reached"


def test_a_node_that_opened_its_own_firewall_for_output_still_does_not_reach_its_neighbour(cluster: Cluster) -> None:
    where = cluster.plan.node("node1").address
    with listener(cluster, "node1", where) as port:
        cluster.node_exec("node2", ["nft", "flush", "chain", "inet", "hpcsec_node", "output"])
        cluster.node_exec("node2", ["nft", "add", "rule", "inet", "hpcsec_node", "output", "accept"])
        before = cluster.counters("node1")["in_dropped"]
        assert dial(cluster, "node2", where, port, patience_s=1) == "no answer"
        assert cluster.counters("node1")["in_dropped"] > before
    assert any("node2 network" in change for change in cluster.up())  # what was changed is seen and put right
    assert cluster.up() == ()


def test_a_node_reaches_the_gateways_port_and_nothing_else_of_the_head(cluster: Cluster) -> None:
    for head in (cluster.head_address, cluster.head_address6):
        argv = [PYTHON, "-c", LISTENER.replace("(sys.argv[1], 0)", "(sys.argv[1], int(sys.argv[2]))"), head]
        for port, answer in ((cluster.gateway_port + 1, "Connection refused"), (cluster.gateway_port, "reached")):
            with subprocess.Popen([*argv, str(port)], stdout=subprocess.PIPE, text=True) as process:
                try:
                    assert process.stdout is not None
                    assert int(process.stdout.readline()) == port
                    assert dial(cluster, "node1", head, port, "alice") == answer
                finally:
                    process.kill()


def test_namespaces_files_and_path_sockets_are_each_nodes_own(cluster: Cluster) -> None:
    spaces = [namespaces("self"), *(namespaces(init_pid(cluster, node)) for node in cluster.nodes)]
    for name in SPACES:
        assert len({space[name] for space in spaces}) == 3, name
    for directory in ("/tmp", "/var/tmp", "/run", "/dev/shm"):
        path = f"{directory}/of-node1"
        assert cluster.node_exec("node1", ["touch", path]).returncode == 0
        assert cluster.node_exec("node2", ["test", "-e", path]).returncode == 1
        assert not Path(path).exists()
    assert cluster.node_exec("node1", ["hostname"]).stdout.strip() == "node1"
    pids = cluster.node_exec("node1", ["sh", "-c", "echo /proc/[0-9]*"]).stdout.split()
    assert len(pids) < 20


def test_munge_on_a_node_tells_the_nodes_address(cluster: Cluster) -> None:
    credential = cluster.node_exec("node2", ["munge", "-n"], "alice").stdout
    told = system.run(["unmunge"], stdin=credential).stdout
    assert re.search(r"^ENCODE_HOST: .*\(10\.77\.0\.12\)$", told, re.MULTILINE)
    assert re.search(r"^UID:\s+alice ", told, re.MULTILINE)
    assert system.run(["unmunge"], stdin=credential, check=False).returncode != 0  # replayed


def test_a_process_that_leaves_its_session_ends_with_its_job(cluster: Cluster) -> None:
    script = "setsid -f sleep 4321; sleep 4321"
    job = as_user("alice", cluster, "sbatch", "--parsable", "-w", "node1", "--wrap", script).stdout.strip()

    def sleepers() -> int:
        return len(system.processes_of("sleep", "4321"))

    assert system.wait_for(lambda: sleepers() == 2, within_s=30)
    assert as_user("alice", cluster, "scancel", job).returncode == 0
    assert system.wait_for(lambda: sleepers() == 0, within_s=30)


@pytest.mark.parametrize("user", [None, "alice"])
def test_a_command_at_a_node_ends_with_the_one_who_waits_for_it(cluster: Cluster, user: str | None) -> None:
    with subprocess.Popen(cluster.node_command("node1", ["sleep", "4322"], user=user)) as process:
        assert system.wait_for(lambda: bool(system.processes_of("sleep", "4322")), within_s=30)
        process.kill()
    assert system.wait_for(lambda: not system.processes_of("sleep", "4322"), within_s=30)


def test_a_cut_off_node_is_silent_until_it_is_healed(cluster: Cluster) -> None:
    cluster.partition("node2")
    try:
        parts = {part.name: part for part in cluster.status().parts}
        assert parts["node2 cable"].state == "red"
        assert parts["node2 cable"].fix == "hpcsec cluster heal node2"
        assert dial(cluster, "node2", cluster.head_address, 6817, patience_s=1) == "no answer"
        assert cluster.counters("node2")["cut"] > 0
    finally:
        cluster.heal("node2")
    cluster.heal("node2")  # a second time: nothing to do
    assert cluster.status().ok
    assert as_user("alice", cluster, "srun", "-w", "node2", "hostname").stdout.strip() == "node2"


@pytest.mark.parametrize("what", ["slurmctld", "slurmd", "munged", "crash", "cable", "bridge", "stale", "namespace"])
def test_a_half_dead_cluster_is_mended(cluster: Cluster, what: str) -> None:
    match what:
        case "slurmctld" | "slurmd":
            system.end_processes(system.processes_of(what)[:1], grace_s=0)
        case "munged":
            pids = [pid for pid in system.processes_of(what) if system.is_in_lower_namespace(pid)]
            system.end_processes(pids[:1], grace_s=0)
        case "crash":
            cluster.crash("node1")
        case "cable":
            system.run(["ip", "link", "del", "hpcsec-n2"])
        case "bridge":
            system.run(["ip", "link", "del", "hpcsec0"])
        case "stale":
            cluster.down()
            Path("/run/netns").mkdir(exist_ok=True)
            Path("/run/netns/hpcsec-node1").touch()
            Path("/var/lib/hpcsec-cluster/run").mkdir()
            system.run(["ip", "link", "add", "hpcsec0", "type", "bridge"])
            system.run(["ip", "link", "set", "hpcsec0", "alias", "/tmp/cluster-of-a-dead-session"])
        case "namespace":
            system.run(["ip", "netns", "del", "hpcsec-node2"])  # its processes live on in it
        case _:
            pytest.fail(f"BUG: no way to break {what}")
    system.wait_for(lambda: not cluster.status().ok, within_s=30)
    assert not cluster.status().ok
    assert cluster.up() != ()
    assert cluster.status().ok
    assert cluster.up() == ()
    assert as_user("alice", cluster, "srun", "-N2", "true").returncode == 0


def test_only_users_that_up_created_are_removed() -> None:
    name = "hpcsec-scratch"
    system.run(["useradd", "--no-create-home", name])
    try:
        with pytest.raises(HpcsecError, match="left alone"):
            system.remove_user(name)
    finally:
        system.run(["userdel", name])
    system.create_user(name)
    entry = system.account(name)
    assert entry is not None
    assert Path(entry.pw_dir).stat().st_mode & 0o077 == 0
    system.remove_user(name)
    assert system.account(name) is None
    assert not Path(entry.pw_dir).exists()


def test_the_exit_status_of_a_command_at_a_node_is_passed_on(cluster: Cluster) -> None:
    command = [sys.executable, "-m", "jupyter_hpcsec.cli.main", "cluster", "exec"]
    done = system.run([*command, "node3", "--", "true"], check=False)
    assert (done.returncode, "node1, node2" in done.stderr) == (1, True)
    words = ["--user", "carol", "node2", "--", "sh", "-c", "id -un; exit 7"]
    done = system.run([*command, *words], check=False)
    assert (done.returncode, done.stdout.strip()) == (7, "carol")
