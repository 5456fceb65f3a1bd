"""What an administrator can set on every hpcsec spawner, with validation that names the fix. No other behaviour."""

import json
import os
import sys
from typing import Any

from traitlets import Bool, Dict, Float, Integer, List, TraitError, Unicode, default, validate

from jupyter_hpcsec.config import DEFAULT_ADMIN_SOCKET
from jupyter_hpcsec.errors import Malformed
from jupyter_hpcsec.gpu import launch as gpu_watch
from jupyter_hpcsec.hub.batch import batchspawner
from jupyter_hpcsec.hub.profiles import Profile, parse_profiles
from jupyter_hpcsec.hub.submission import KEEP, check_keep

BatchSpawnerBase: Any = batchspawner.BatchSpawnerBase

SUDO = "sudo --non-interactive --user={username} --"


class SpawnerTraits(BatchSpawnerBase):
    """The configurable part of ``HpcsecSpawnerMixin``."""

    admin_socket = Unicode(
        DEFAULT_ADMIN_SOCKET,
        help="The gateway's admin socket (HpcsecGateway.admin_socket); the hub's account must be an allowed peer.",
    ).tag(config=True)
    gateway_timeout = Integer(
        30, min=1, help="Seconds that a start waits for a gateway that does not answer, such as one that restarts."
    ).tag(config=True)
    recovery_timeout = Integer(
        120,
        min=1,
        help="Seconds after a hub restart in which a server that was starting must become ready, or is cancelled.",
    ).tag(config=True)
    profiles: Any = List(
        help="""
        Resources that users may choose from; empty: everybody gets the req_* settings. A list of dictionaries:

            {"name": "small", "title": "Small", "description": "For a first look", "partition": "main",
             "cpus": {"min": 1, "max": 8, "default": 2}, "memory_gib": 8, "gpus": 0,
             "minutes": {"min": 30, "max": 480, "default": 120}, "groups": ["students"]}

        Also: account, qos, reservation, constraint, gpu_type. A number alone is fixed. What users send is checked
        against this on the server, however it is sent.
        """,
    ).tag(config=True)
    default_minutes = Integer(
        1440,
        min=1,
        help="How long a job may run, for the life of its session, where no profiles are set: your queue's time limit.",
    ).tag(config=True)
    node_python = Unicode(
        sys.executable, help="The Python on the compute nodes that has jupyter_hpcsec; owned by root, not by users."
    ).tag(config=True)
    batch_env_keep = List(
        Unicode(),
        list(KEEP),
        help="Variables of the hub's environment that batch commands and jobs get, if set. Never a secret.",
    ).tag(config=True)
    batch_detail_cmd = Unicode("", help="Command that tells how a job ended, for the sentence shown to its user.").tag(
        config=True
    )
    batch_hard_cancel_cmd = Unicode(
        "",
        help="Command that ends a job at once, for when batch_cancel_cmd did not help. Empty: the same command.",
    ).tag(config=True)
    batch_kill_cmd = Unicode(
        "",
        help="""
        Command that kills a job's processes without asking them, for a session that was ended (``hpcsec session end``)
        and whose job goes on; batch_hard_cancel_cmd follows. Empty: only that one.
        """,
    ).tag(config=True)
    batch_command_timeout = Integer(30, min=1, help="Seconds that a batch command may take.").tag(config=True)
    batch_estimate_cmd = Unicode(
        "",
        help="Command that says when a job script on its standard input would start, for the spawn page; run as the "
        "user. Empty: the page shows no estimates.",
    ).tag(config=True)
    estimate_wait = Float(
        2.0, min=0.1, max=30.0, help="Seconds that the spawn page waits for estimates; later ones serve the next page."
    ).tag(config=True)
    estimate_interval = Float(60.0, min=1.0, help="Seconds for which an estimate is shown again.").tag(config=True)
    query_as_user = Bool(
        False,
        help="Ask the scheduler as the user (Slurm's PrivateData=jobs); needs the query commands in sudoers, too.",
    ).tag(config=True)
    startup_poll_limit = Integer(
        15, min=1, help="The longest pause in seconds between questions to the scheduler while a job waits."
    ).tag(config=True)
    stop_grace = Integer(20, min=0, help="Seconds that a job has to end by itself before it is ended hard.").tag(
        config=True
    )
    gpu_watch: Any = Dict(
        help="""
        The GPU watch's settings, docs/gpu.md: thresholds, limits by group, actions. For example

            {"idle": {"first_warning": 60, "second_warning": 105, "end": 120}, "groups": {"long": {"end": 480}},
             "actions": {"R3": "notify"}}
        """,
    ).tag(config=True)
    job_log_directory = Unicode(
        ".hpcsec", help="Where jobs write their output, below the user's home; empty: /dev/null."
    ).tag(config=True)

    start_timeout = Integer(3600, help="Seconds from the click to a ready server, the wait in the queue included.").tag(
        config=True
    )
    http_timeout = Integer(
        120,
        help="Seconds to wait for an answer of a server that is ready; after a hub restart its tunnel may need them.",
    ).tag(config=True)
    exec_prefix = Unicode(
        help="How the hub becomes the user for batch commands: sudo, or nothing when it runs as root (it switches)."
    ).tag(config=True)

    @default("exec_prefix")
    def _default_exec_prefix(self) -> str:
        return "" if os.geteuid() == 0 else SUDO

    @default("cmd")
    def _default_cmd(self) -> list[str]:
        return [self.node_python, "-I", "-m", "jupyterhub.singleuser"]

    @validate("profiles")
    def _check_profiles(self, proposal: Any) -> Any:
        try:
            parse_profiles(proposal["value"])
        except Malformed as error:
            raise TraitError(error.reason) from error
        return proposal["value"]

    @validate("gpu_watch")
    def _check_gpu_watch(self, proposal: Any) -> Any:
        try:
            gpu_watch.parse(json.dumps({"settings": proposal["value"]}))
        except (Malformed, TypeError) as error:
            raise TraitError(str(error)) from error
        return proposal["value"]

    @validate("batch_env_keep")
    def _check_env_keep(self, proposal: Any) -> Any:
        try:
            check_keep(proposal["value"])
        except Malformed as error:
            raise TraitError(error.reason) from error
        return proposal["value"]

    @validate("job_log_directory")
    def _check_log_directory(self, proposal: Any) -> Any:
        value = proposal["value"]
        if value.startswith("/") or ".." in value.split("/") or not value.isprintable():
            raise TraitError("job_log_directory must be a path below the user's home, such as '.hpcsec', or empty.")
        return value

    def gpu_settings(self, groups: list[str]) -> str:
        """What the watch of a session of someone in these groups is started with."""
        return json.dumps({"settings": self.gpu_watch, "groups": groups})

    def parsed_profiles(self) -> tuple[Profile, ...]:
        """The profiles as values; they were validated when they were set."""
        return parse_profiles(self.profiles)
