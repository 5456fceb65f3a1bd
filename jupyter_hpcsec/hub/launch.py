"""What a batch job runs: ``python -I -m jupyter_hpcsec.hub.launch``, without arguments.

1. Close this process to others of the same user, before anything else: a secret came with the environment. And find
   no module in the directory where it stands.
2. Take our variables out of the environment (``job_environment``).
3. Everything else is ``job``: private directory, key, enrolment, server, tunnel, end.

The modules of step 3 are imported after step 1, for they take a while. This module never starts a process.
"""

import asyncio
import logging
import os
import resource
import socket
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from jupyter_hpcsec.access.prctl import SET_DUMPABLE, prctl
from jupyter_hpcsec.access.search_path import leave_working_directory
from jupyter_hpcsec.errors import HpcsecError, Malformed, Refused

if TYPE_CHECKING:
    from jupyter_hpcsec.hub.job_environment import JobEnvironment

MALFORMED, REFUSED, UNAVAILABLE = 78, 77, 69
"""Exit statuses of a job that did not come to run a server: EX_CONFIG, EX_NOPERM, EX_UNAVAILABLE of sysexits(3)."""


def close_to_others() -> int:
    """Keep this process's memory, environment and descriptors from others of the same user; returns the old umask.

    The key must not be had by a debugger, by reading ``/proc/PID/mem`` or ``/proc/PID/environ``, or from a core file.
    Only the soft limit on core files is set, so that the user may still ask for cores of what runs in the notebook.
    Root can read all of it. What this process makes is for its user alone; the user's own files get the old umask.
    """
    prctl(SET_DUMPABLE, 0)
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    return os.umask(0o077)


def main() -> int:
    """Run the job from start to end; the exit status, with one sentence on stderr where that is not 0."""
    try:
        umask = close_to_others()
        leave_working_directory()
        from jupyter_hpcsec.hub.job_environment import take  # noqa: PLC0415 - step 1 comes first

        job_environment = take(os.environ, hostname=socket.gethostname().partition(".")[0])
        return asyncio.run(_run(job_environment, dict(os.environ), umask))
    except HpcsecError as error:
        print(f"hpcsec: {error}", file=sys.stderr)
        return MALFORMED if isinstance(error, Malformed) else REFUSED if isinstance(error, Refused) else UNAVAILABLE


async def _run(job_environment: "JobEnvironment", environment: Mapping[str, str], umask: int) -> int:
    from jupyter_hpcsec.hub.job import Job  # noqa: PLC0415 - step 1 comes first

    logging.basicConfig(format="[%(levelname).1s %(asctime)s hpcsec] %(message)s", level=logging.INFO)
    outcome = await Job(job_environment, environment, umask=umask, log=logging.getLogger("hpcsec")).run()
    print(f"hpcsec: {outcome.sentence}", file=sys.stderr)
    return outcome.status


if __name__ == "__main__":
    sys.exit(main())
