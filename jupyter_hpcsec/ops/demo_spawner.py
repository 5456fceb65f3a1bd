"""The quickstart's spawner: ``HpcsecLocalSpawner`` for the one person who runs the hub.

Every job runs as the account that runs the hub, root included, in a home directory of the demo's own. It may not be
used where more than one person logs in: that is why it is no setting of the spawner that sites use.
"""

import json
from dataclasses import replace
from pathlib import Path

from traitlets import Unicode

from jupyter_hpcsec.errors import Refused
from jupyter_hpcsec.gpu import standin
from jupyter_hpcsec.hub import account as accounts
from jupyter_hpcsec.hub.spawner import HpcsecLocalSpawner

NO_SHELLS = frozenset({"", "nologin", "false"})


class QuickstartSpawner(HpcsecLocalSpawner):
    """For ``hpcsec quickstart`` only."""

    demo_home = Unicode(help="Absolute path of the directory that stands in for the home directory. Required.").tag(
        config=True
    )

    demo_user = Unicode(help="The one person who may start a server. Required.").tag(config=True)

    fake_gpus = Unicode(help="The directory of simulated GPUs (``gpu.standin.prepare``); empty: none.").tag(config=True)

    def gpu_settings(self, groups: list[str]) -> str:
        """With the simulated GPUs, if any."""
        if not self.fake_gpus:
            return super().gpu_settings(groups)
        own = {"stand_in": f"{self.fake_gpus}/{standin.NAME}", "state": f"{self.fake_gpus}/state", "interval_s": 2.0}
        return json.dumps({"settings": self.gpu_watch, "groups": groups, **own})

    def account(self) -> accounts.Account:
        """The hub's own account, with the demo's home directory, and a shell for terminals where it has none."""
        if self.user.name != self.demo_user:
            raise Refused("quickstart.user", f"{self.user.name} looks after security in this demo, and has no server.")
        own = accounts.own()
        shell = "/bin/sh" if Path(own.shell).name in NO_SHELLS else own.shell
        return replace(own, home=Path(self.demo_home), shell=shell)
