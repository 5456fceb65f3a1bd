"""The development cluster's plan: refusals of wrong settings first, then names, files and parsers."""

import json
import re
from pathlib import Path

import pytest

from jupyter_hpcsec.access.mountinfo import Mount, parse
from jupyter_hpcsec.errors import HpcsecError, Malformed
from jupyter_hpcsec.ops.cluster_plan import (
    Cgroup,
    Plan,
    Settings,
    cgroup_mounts,
    choose_cgroup,
    firewall_trouble,
    hierarchy_options,
    parse_counters,
    parse_sinfo,
    upstream_version,
)

STATE = Path("/var/lib/somewhere")


def plan(**settings: object) -> Plan:
    return Plan(STATE, "head.example.org", Settings(**settings))  # type: ignore[arg-type]


@pytest.mark.parametrize("network", ["10.77.0.0/30", "8.8.8.0/24", "10.77.0.1/24", "fd00::/64", "10.77.0.0/33", ""])
def test_a_network_that_can_not_be_the_clusters_is_refused(network: str) -> None:
    with pytest.raises(Malformed, match="network"):
        plan(network=network)


@pytest.mark.parametrize("port", [0, 80, 1023, 65536])
def test_a_gateway_port_that_is_none_is_refused(port: int) -> None:
    with pytest.raises(Malformed, match="port"):
        plan(gateway_port=port)


@pytest.mark.parametrize("name", ["", "a b", "head\nSlurmUser=root", "-x", "h(10.0.0.1)", "x" * 64])
def test_a_host_name_that_would_write_into_slurm_conf_is_refused(name: str) -> None:
    with pytest.raises(Malformed, match="host name"):
        Plan(STATE, name, Settings())


@pytest.mark.parametrize("state", ["relative", "/with space", "/with\nline", "/with$dollar", '/quo"te'])
def test_a_state_directory_that_would_write_into_the_files_is_refused(state: str) -> None:
    with pytest.raises(Malformed, match="state directory"):
        Plan(Path(state), "head", Settings())


def test_an_unknown_node_is_refused_and_the_known_ones_named() -> None:
    with pytest.raises(HpcsecError, match="node1, node2"):
        plan().node("node3")


def test_addresses_follow_from_the_network() -> None:
    made = plan(network="192.168.40.0/28")
    assert made.head_address == "192.168.40.1"
    assert [node.address for node in made.nodes] == ["192.168.40.11", "192.168.40.12"]
    names = [name for node in made.nodes for name in (node.netns, node.veth)]
    assert len(set(names)) == 4
    assert all(len(node.veth) <= 15 for node in made.nodes)  # IFNAMSIZ


def test_slurm_conf_names_this_machine_and_tracks_processes_by_cgroup() -> None:
    text = plan().files()["slurm.conf"]
    assert "SlurmctldHost=head.example.org(10.77.0.1)\n" in text
    assert "ProctrackType=proctrack/cgroup\n" in text
    assert len(re.findall(r"^NodeName=node\d NodeAddr=10\.77\.0\.1\d .*Gres=gpu:standin:4 ", text, re.MULTILINE)) == 2
    assert "$" not in text


@pytest.mark.parametrize(
    ("kind", "plugin", "constrain"),
    [(Cgroup.V1, "cgroup/v1", "yes"), (Cgroup.V2, "cgroup/v2", "yes"), (Cgroup.NONE, "disabled", "no")],
)
def test_cgroup_conf_names_its_plugin_because_detection_is_fatal_on_hybrid_machines(
    kind: Cgroup, plugin: str, constrain: str
) -> None:
    files = plan(cgroup=kind).files()
    assert f"CgroupPlugin={plugin}\n" in files["cgroup.conf"]
    assert f"ConstrainRAMSpace={constrain}\n" in files["cgroup.conf"]
    assert ("proctrack/linuxproc" in files["slurm.conf"]) is (kind is Cgroup.NONE)


def test_the_firewall_drops_by_default_and_accepts_slurms_control_from_the_head_only() -> None:
    text = plan(gateway_port=9443).firewall
    assert text.count("policy drop;") == 3
    inbound = text[text.index("chain input") : text.index("chain forward")]
    accepted = [line.strip() for line in inbound.splitlines() if " accept" in line and "dport" in line]
    assert len(accepted) == 1
    assert accepted[0].startswith("ip saddr 10.77.0.1 tcp dport 6818 accept")
    outbound = text[text.index("chain output") :]
    assert re.findall(r"daddr (\S+) tcp dport (\S+) accept", outbound) == [
        ("10.77.0.1", "6817"),
        ("10.77.0.1", "60001-60100"),
        ("10.77.0.1", "9443"),
        ("fd77:7063:7365:6300::1", "9443"),
    ]


def test_settings_survive_their_file_and_a_damaged_file_is_refused() -> None:
    settings = Settings(
        network="10.99.0.0/24", gateway_port=9443, cgroup=Cgroup.NONE, environment="/opt/e", environment_given=True
    )
    assert Settings.from_json(settings.to_json()) == settings
    for text in ("", "[]", "{}", settings.to_json().replace("linuxproc", "magic"), '{"network": 1}'):
        with pytest.raises(Malformed, match="hpcsec cluster down"):
            Settings.from_json(text)


MOUNTINFO = """\
23 1 0:22 / /sys rw,relatime - sysfs sysfs rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
34 31 0:31 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
35 31 0:32 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer
36 31 0:33 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
37 31 0:34 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
38 31 0:34 / /mnt/a\\040b rw,relatime - tmpfs tmpfs rw
"""


def test_process_tracking_is_chosen_by_what_is_mounted() -> None:
    hybrid = parse(MOUNTINFO)
    pure = [Mount("/sys/fs/cgroup", "0:1", "/", "cgroup2", read_only=False, options=("rw",))]
    assert choose_cgroup([], "") is Cgroup.NONE
    assert choose_cgroup(pure, "hugetlb") is Cgroup.NONE
    assert choose_cgroup([m for m in hybrid if not m.point.endswith("freezer")], "") is Cgroup.NONE
    assert choose_cgroup(hybrid, "hugetlb") is Cgroup.V1
    assert choose_cgroup(pure, "cpuset cpu io memory pids") is Cgroup.V2


def test_each_hierarchy_is_mounted_again_with_its_own_options_only() -> None:
    found = {mount.point: hierarchy_options(mount) for mount in cgroup_mounts(parse(MOUNTINFO))}
    assert found == {
        "/sys/fs/cgroup/memory": "memory",
        "/sys/fs/cgroup/freezer": "freezer",
        "/sys/fs/cgroup/systemd": "name=systemd",
        "/sys/fs/cgroup/unified": "",
    }
    options = ("rw", "release_agent=/lib/x", "name=systemd", "clone_children")
    agent = Mount("/sys/fs/cgroup/systemd", "0:2", "/", "cgroup", read_only=False, options=options)
    assert hierarchy_options(agent) == "name=systemd"


def test_sinfo_is_read() -> None:
    assert parse_sinfo("node1 idle\nnode2 down*\n") == {"node1": "idle", "node2": "down*"}
    assert parse_sinfo("") == {}


def test_counters_are_read_and_another_form_is_refused() -> None:
    counter = {"counter": {"family": "inet", "name": "in_dropped", "table": "t", "handle": 4, "packets": 7, "bytes": 1}}
    assert parse_counters(json.dumps({"nftables": [{"metainfo": {}}, counter]})) == {"in_dropped": 7}
    for text in ("", "[]", '{"nftables": [{"counter": {}}]}'):
        with pytest.raises(Malformed):
            parse_counters(text)


def nft_answer(rules: str, *, policy: str = "drop", left_out: int = 0, comment: str | None = None) -> str:
    digest = re.search(r'"([0-9a-f]{64})"', rules)
    assert digest
    chains = [{"chain": {"name": name, "policy": policy}} for name in ("input", "forward", "output")]
    count = len(re.findall(r"^    (?!type )\S", rules, re.MULTILINE)) - left_out
    rows: list[dict[str, object]] = [{"rule": {"expr": []}} for _ in range(count - 1)]
    rows.append({"rule": {"comment": comment or digest[1]}})
    return json.dumps({"nftables": [{"metainfo": {}}, *chains, *rows]})


def test_a_firewall_that_was_changed_is_seen() -> None:
    rules = plan().firewall
    assert "does not drop" in str(firewall_trouble(nft_answer(rules, policy="accept"), rules))
    assert "missing or were added" in str(firewall_trouble(nft_answer(rules, left_out=1), rules))
    assert "missing or were added" in str(firewall_trouble(nft_answer(rules, left_out=-1), rules))
    assert "another one" in str(firewall_trouble(nft_answer(rules, comment="0" * 64), rules))
    assert "another one" in str(firewall_trouble(nft_answer(rules), plan(gateway_port=9443).firewall))
    with pytest.raises(Malformed):
        firewall_trouble("not json", rules)
    assert firewall_trouble(nft_answer(rules), rules) is None


def test_a_version_is_found_in_munges_words() -> None:
    assert upstream_version("munge-0.5.15 (2022-06-22)") == (0, 5, 15)
    assert upstream_version("no version") == ()
