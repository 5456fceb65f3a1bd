"""``hpcsec quickstart`` as a site would have it: a choice of jobs, directories that are closed, GPUs whose idleness is
soon told. Jobs reach the gateway by the address in DIAL, which a test can cut (``wire``).
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jupyter_hpcsec.cli.main import main
from jupyter_hpcsec.ops import quickstart, sites
from jupyter_hpcsec.ops.demo_plan import Plan, render
from tests.e2e.demorun import DIAL, SiteWithProfiles
from tests.e2e.lockedrun import LockedDemo, locked_policy

IDLE = {"first_warning": 1, "second_warning": 120, "end": 180, "extend_by": 60}
"""Minutes: the watch knows nothing shorter than one."""


class DaysSite(SiteWithProfiles):
    """This computer, with a choice, simulated GPUs, and impatience about them."""

    def spawner_settings(self, state: Path, admin_socket: Path) -> dict[str, dict[str, Any]]:
        settings = super().spawner_settings(state, admin_socket)
        settings["QuickstartSpawner"]["gpu_watch"] = {"idle": IDLE}
        return settings


class DaysDemo(LockedDemo):
    """A demo whose jobs dial what the test says."""

    def _write_files(self, plan: Plan) -> None:
        super()._write_files(plan)
        config = plan.gateway_config()
        config["HpcsecGateway"]["public_endpoints"] = [os.environ[DIAL]]
        (plan.state / "gateway" / "config.py").write_text(render(config))


def choose_site(*, slurm: bool, fake_gpus: bool = False) -> sites.Site:
    assert fake_gpus and not slurm
    return DaysSite(has_fake_gpus=True)


def run(arguments: Sequence[str]) -> int:
    quickstart.demo_policy = locked_policy
    quickstart.Demo = DaysDemo  # type: ignore[misc]
    quickstart.choose_site = choose_site
    return main(list(arguments))


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
