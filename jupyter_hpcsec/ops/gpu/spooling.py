"""What root's prolog and epilog find, put where the watch sends it from."""

from collections.abc import Callable
from pathlib import Path

from jupyter_hpcsec.audit.events import ToldByRoot
from jupyter_hpcsec.errors import HpcsecError
from jupyter_hpcsec.tunnel.nodespool import NodeSpool

SPOOL = Path("/var/lib/hpcsec-node")
"""Root's alone."""


def keep(event: ToldByRoot, directory: Path, say: Callable[[str], None]) -> None:
    """For prolog and epilog: into the spool, for the watch to send; a spool that is sick keeps no job from its node."""
    try:
        spool = NodeSpool(directory)
    except HpcsecError as error:
        say(f"not kept for the gateway: {error.reason}")
        return
    try:
        if not spool.put(event):
            say("not kept for the gateway: there is no room; it is counted")
    except HpcsecError as error:
        say(f"not kept for the gateway: {error.reason}")
    finally:
        spool.close()
