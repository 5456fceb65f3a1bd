"""A session inside its batch job: from the enrolment to the last process gone. Started by ``launch``.

It joins the agent (``tunnel.agent``), the job's key (``credentials``) and the server in its sandbox
(``server_process``), and decides when the job is over. It serves nobody itself.
"""

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from jupyter_hpcsec.access.sandbox import requirements
from jupyter_hpcsec.access.values import Plan, Resolved, digest
from jupyter_hpcsec.errors import HpcsecError
from jupyter_hpcsec.hub.account import on_this_node
from jupyter_hpcsec.hub.credentials import JobCredentials, evidence
from jupyter_hpcsec.hub.job_environment import JobEnvironment
from jupyter_hpcsec.hub.mask_watch import watch
from jupyter_hpcsec.hub.node_plan import plan_for, why_no_namespaces
from jupyter_hpcsec.hub.processes import become_subreaper, kill_descendants, reap
from jupyter_hpcsec.hub.readiness import wait_until_ready
from jupyter_hpcsec.hub.runtime_directory import RuntimeDirectory, candidates, runtime_directory
from jupyter_hpcsec.hub.server_plan import parse_launch, program, server_arguments, server_environment
from jupyter_hpcsec.hub.server_process import ServerProcess, start_server
from jupyter_hpcsec.hub.session_files import certificate_writer, write_access, write_facts, write_stale
from jupyter_hpcsec.hub.telling import Telling
from jupyter_hpcsec.identity.authority import server_name
from jupyter_hpcsec.identity.tokens import unverified_session
from jupyter_hpcsec.tunnel.agent import Agent
from jupyter_hpcsec.tunnel.messages import Account, Enrolled
from jupyter_hpcsec.tunnel.session import State
from jupyter_hpcsec.tunnel.spool import open_spool
from jupyter_hpcsec.tunnel.teller import Teller

STOP_GRACE_S = 10.0
"""Seconds for the server to shut its kernels down. Slurm's own patience (KillWait) is 30 s by default."""
KILL_PATIENCE_S = 10.0
LAST_WORD_S = 5.0
"""Seconds to wait for the gateway, when it is away at the moment, to tell it why the job ends."""

SERVER_FAILED = 70
"""EX_SOFTWARE of sysexits(3): the server ended by itself and not with 0."""


@dataclass(frozen=True)
class Outcome:
    """How a job ended: its exit status, and why in one sentence."""

    status: int
    sentence: str


class Tunnel(Protocol):
    """What the job needs of ``tunnel.agent.Agent``."""

    async def enrol(
        self, *, token: str, job_id: str, node: str, evidence: Mapping[str, str], account: Account
    ) -> Enrolled:
        """Trade the token for a certificate."""

    async def run(self) -> str:
        """Hold the tunnel; the reason of its end."""

    async def report(self, state: str, message: str, facts: Mapping[str, Any] | None = None) -> None:
        """Tell the gateway where the server is."""

    async def connected(self) -> None:
        """Return once a report would arrive."""

    def stop(self, reason: str) -> None:
        """End ``run``."""


def dial_out(
    job: JobEnvironment,
    credentials: JobCredentials,
    directory: RuntimeDirectory,
    log: logging.Logger,
    teller: Teller,
) -> Agent:
    """The real tunnel. It reaches one thing on the node: the server's socket."""
    return Agent(
        endpoints=job.endpoints,
        ca=job.ca,
        credentials=credentials,
        targets={"server": directory.server_socket},
        hub_api_socket=directory.hub_socket,
        server_name=lambda authority: server_name(hashlib.sha256(authority).hexdigest()),
        log=log,
        on_stale=lambda stale: write_stale(directory, stale, log),
        on_certificate=certificate_writer(directory, log),
        teller=teller,
    )


@dataclass
class Job:
    """One session. ``environment`` is the job's without our variables; ``umask`` is what the user's files get."""

    job: JobEnvironment
    environment: Mapping[str, str]
    umask: int
    log: logging.Logger
    tunnel: Callable[[JobEnvironment, JobCredentials, RuntimeDirectory, logging.Logger, Teller], Tunnel] = dial_out
    grace_s: float = STOP_GRACE_S
    _over: "asyncio.Future[Outcome]" = field(init=False)

    async def run(self) -> Outcome:
        """From a private directory to its removal; ``HpcsecError`` when the server never came to run."""
        loop = asyncio.get_running_loop()
        self._over = loop.create_future()
        become_subreaper()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal, number)
        with runtime_directory(self.environment) as directory:
            work = loop.create_task(self._work(directory))
            try:
                await asyncio.wait({work, self._over}, return_when=asyncio.FIRST_COMPLETED)
                return self._over.result() if self._over.done() else work.result()
            finally:
                work.cancel()
                with contextlib.suppress(asyncio.CancelledError, HpcsecError):
                    await work
                self._kill_the_rest()

    def _on_signal(self, number: int) -> None:
        name = signal.Signals(number).name
        self._end(Outcome(128 + number, f"The batch system ended the job ({name}): cancelled, or at its time limit."))

    def _end(self, outcome: Outcome) -> None:
        if not self._over.done():
            self._over.set_result(outcome)

    async def _work(self, directory: RuntimeDirectory) -> Outcome:
        """Enrol, start, serve. Cancelled from outside when the job is over for another reason."""
        credentials = JobCredentials()
        teller = Teller(open_spool([directory.path, *candidates(self.environment)]))
        telling = Telling(teller, self.log)
        tunnel = self.tunnel(self.job, credentials, directory, self.log, teller)
        proof = evidence(unverified_session(self.job.token), credentials.fingerprint(), self.log)
        self.log.info("job %s on %s asks for its session", self.job.job_id, self.job.node)
        enrolled = await tunnel.enrol(
            token=self.job.token,
            job_id=self.job.job_id,
            node=self.job.node,
            evidence=proof,
            account=on_this_node(self.environment),
        )
        self.log.info("enrolled: session %s of %s", enrolled.session, enrolled.user)
        async with self._held(tunnel, telling):
            try:
                outcome = await self._serve(tunnel, enrolled, directory, telling)
            except HpcsecError as error:
                await telling.ended(error.reason)
                await last_word(tunnel, error.reason)
                raise
            await telling.ended(outcome.sentence)
            await last_word(tunnel, outcome.sentence)
            return outcome

    @contextlib.asynccontextmanager
    async def _held(self, tunnel: Tunnel, telling: Telling) -> AsyncIterator[None]:
        """The tunnel, beside what happens in the block; when the gateway ends the session, the job is over."""
        running = asyncio.get_running_loop().create_task(tunnel.run())

        def stopped(task: "asyncio.Task[str]") -> None:
            if task.cancelled():
                return
            if error := task.exception():
                self.log.error("the tunnel broke", exc_info=error)
                self._end(
                    Outcome(SERVER_FAILED, "The tunnel broke by a fault of its own; the job's log has the trace.")
                )
            else:
                self._end(Outcome(0, f"The session was ended: {task.result()}."))

        running.add_done_callback(stopped)
        try:
            yield
        except asyncio.CancelledError:
            if self._over.done() and not running.done():
                await telling.ended(self._over.result().sentence)
                await last_word(tunnel, self._over.result().sentence)
            raise
        finally:
            running.remove_done_callback(stopped)
            tunnel.stop("the job is over")
            await asyncio.gather(running, return_exceptions=True)

    async def _serve(
        self, tunnel: Tunnel, enrolled: Enrolled, directory: RuntimeDirectory, telling: Telling
    ) -> Outcome:
        """Start the server, say when it is ready, and wait for its end; ended gently also when this is cancelled."""
        launch = parse_launch(enrolled.launch)
        environment = server_environment(self.environment, launch, directory)
        plan = await self._plan(launch.access, environment, directory)
        await tunnel.report(State.STARTING, f"Starting the notebook server on {self.job.node}")
        write_access(directory, launch.access, {})  # before the server asks for it; again with the receipt
        argv = server_arguments(launch, directory, is_root=os.geteuid() == 0)
        with telling.listening(directory.events_socket):
            server = await start_server(
                [program(argv[0], environment.get("PATH", os.defpath), Path(sys.executable).parent), *argv[1:]],
                environment,
                plan=plan,
                umask=self.umask,
                on_refused=lambda pid: self._refused_to_listen(pid, telling),
            )
            try:
                asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, lambda: reap(but=server.pid))
                server.receipt |= {"rules": digest(launch.access)}
                self.log.info("enforced: %s", json.dumps(server.receipt, sort_keys=True, separators=(",", ":")))
                telling.started(server.receipt)
                write_facts(directory, self.job, enrolled, server.receipt, launch.recording)
                write_access(directory, launch.access, server.receipt)
                async with telling.over(server):
                    serving = self._served(tunnel, server, directory, launch.base_url, telling)
                    return await self._while_covered(plan, server, serving, telling)
            finally:
                # the order matters: the server shuts its kernels down while it can, then everything else goes
                await server.terminate(self.grace_s)
                asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)
                server.close()

    def _refused_to_listen(self, pid: int, telling: Telling) -> None:
        self.log.warning("process %d was refused to listen on the network", pid)
        telling.refused_to_listen(pid)

    async def _while_covered(
        self, plan: Plan, server: ServerProcess, serving: Coroutine[Any, Any, Outcome], telling: Telling
    ) -> Outcome:
        """How serving ended. When a mask of the plan is gone, all of the session is killed at once, nothing is saved.

        What it denies could be read while the server shuts its kernels down, or while the gateway is away.
        """
        loop = asyncio.get_running_loop()
        watching, served = loop.create_task(watch(plan, server)), loop.create_task(serving)
        try:
            await asyncio.wait({watching, served}, return_when=asyncio.FIRST_COMPLETED)
            if watching.done() and (sentence := watching.result()):
                telling.alarm("mask.off", sentence)
                self._kill_the_rest()
                return Outcome(SERVER_FAILED, sentence)
            return await served
        finally:
            for task in (watching, served):
                task.cancel()
            await asyncio.gather(watching, served, return_exceptions=True)

    async def _served(
        self, tunnel: Tunnel, server: ServerProcess, directory: RuntimeDirectory, base_url: str, telling: Telling
    ) -> Outcome:
        """From the start to the server's own end."""
        await self._wait_ready(tunnel, server, directory, base_url)
        expecting = asyncio.get_running_loop().create_task(telling.expect())
        try:
            return describe_end(await server.wait())
        finally:
            expecting.cancel()

    async def _plan(self, access: Resolved, environment: Mapping[str, str], directory: RuntimeDirectory) -> Plan:
        """What the kernel shall enforce here; ``Unavailable`` when it can't."""
        why_not = await why_no_namespaces() if access.policy else ""
        if why_not:
            self.log.warning("this node gives the session no namespaces: %s", why_not)
        plan = await plan_for(access, environment, directory, namespaces=not why_not)
        requirements(plan)
        return plan

    async def _wait_ready(
        self, tunnel: Tunnel, server: ServerProcess, directory: RuntimeDirectory, base_url: str
    ) -> None:
        """Report *ready* at the server's first answer; returns without it when the server ends first."""
        loop = asyncio.get_running_loop()
        waits = {
            loop.create_task(wait_until_ready(directory.server_socket, f"{base_url}api")),
            loop.create_task(server.wait()),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if not server.has_ended:
            self.log.info("the notebook server is ready")
            await tunnel.report(State.READY, f"The notebook server runs on {self.job.node}", server.receipt)

    def _kill_the_rest(self) -> None:
        if not kill_descendants(patience_s=KILL_PATIENCE_S):
            self.log.error("processes of this job could not be ended; the batch system has to")


async def last_word(tunnel: Tunnel, sentence: str) -> None:
    """Tell the gateway why the job ends, so that the user reads it; a gateway that stays away is not waited for."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LAST_WORD_S):
            await tunnel.connected()
    await tunnel.report(State.ENDED, sentence)


def describe_end(status: int) -> Outcome:
    """What a server's exit status means for the job."""
    if status == 0:
        return Outcome(0, "The notebook server was shut down.")
    if status < 0:
        name = signal.Signals(-status).name
        hint = " It may have run out of memory." if status == -signal.SIGKILL else ""
        return Outcome(SERVER_FAILED, f"The notebook server was ended by {name}.{hint}")
    return Outcome(SERVER_FAILED, f"The notebook server failed with status {status}; the job's log says why.")
