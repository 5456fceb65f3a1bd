"""The node's init, as far as it needs no namespaces: its one argument, and what it must carry over."""

import pytest

from jupyter_hpcsec.ops.cluster_node import NodeConfig, hidden_by, main

CONFIG = NodeConfig(
    name="node1",
    netns="/run/netns/hpcsec-node1",
    configuration="/var/lib/c/etc",
    log="/var/lib/c/log/node1.log",
    gpus=4,
    visible=("/opt/environment", "/tmp/c"),
    cgroups=(("/sys/fs/cgroup/memory", "cgroup", "memory"),),
)


def test_a_failure_to_start_is_told_and_is_the_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(config: NodeConfig) -> None:
        raise OSError("mount /proc: no right")

    assert main([CONFIG.to_json()], run=fail) == 1
    assert "mount /proc: no right" in capsys.readouterr().err


def test_the_configuration_survives_the_command_line() -> None:
    seen: list[NodeConfig] = []
    assert main([CONFIG.to_json()], run=seen.append) == 0
    assert seen == [CONFIG]


@pytest.mark.parametrize("path", ["/tmp/x", "/run/user/0/v", "/var/tmp", "/dev/shm/a/b"])
def test_what_a_private_directory_hides_is_carried_over(path: str) -> None:
    assert hidden_by(path)


@pytest.mark.parametrize("path", ["/opt/v", "/var/lib/x", "/tmpfoo", "/", "/runner"])
def test_what_stays_in_sight_is_left_alone(path: str) -> None:
    assert not hidden_by(path)
