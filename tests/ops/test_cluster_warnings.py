"""Warnings of the development cluster."""

from pathlib import Path

from jupyter_hpcsec.ops.cluster_plan import Cgroup, Plan, Settings
from jupyter_hpcsec.ops.cluster_warnings import MUNGE_CVE, munge_warning, warnings


def test_an_old_munge_is_named_with_its_hole() -> None:
    for words in ("munge-0.5.15 (2022-06-22)", "munge-0.5.17", "something else"):
        found = munge_warning(words, "no such fix here")
        assert found is not None
        assert MUNGE_CVE in found.detail


def test_upstreams_and_the_distributions_fix_are_both_known() -> None:
    assert munge_warning("munge-0.5.18 (2026-02-10)", "") is None
    assert munge_warning("munge-0.5.15 (2022-06-22)", f"* Fix buffer overflow ({MUNGE_CVE})") is None


def test_lost_process_tracking_is_said() -> None:
    names = {
        kind: [w.name for w in warnings(Plan(Path("/var/lib/c"), "head", Settings(cgroup=kind)))] for kind in Cgroup
    }
    assert "process tracking" in names[Cgroup.NONE]
    assert "process tracking" not in names[Cgroup.V1]
