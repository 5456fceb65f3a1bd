"""A user's server as one session: registered at the gateway, run by the batch system, reached by a unix socket.

Works over any ``BatchSpawnerBase`` subclass, of which it uses the commands, the template and the ``req_*`` settings. It
holds the session's life: start, poll, stop, and what a hub that comes back must know. It may never leave a job, a
session or a token behind.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from jupyterhub.utils import wait_for_http_server
from traitlets import Instance

from jupyter_hpcsec.audit.events import Subject
from jupyter_hpcsec.audit.kinds.hub import HubServer
from jupyter_hpcsec.errors import HpcsecError, Malformed, Refused
from jupyter_hpcsec.gpu import launch as gpu_watch
from jupyter_hpcsec.hub import hubtoken, ownrecords
from jupyter_hpcsec.hub.batch import verify_hub
from jupyter_hpcsec.hub.batchsystem import JOB_ID
from jupyter_hpcsec.hub.ending import Ended
from jupyter_hpcsec.hub.endpart import EndPart
from jupyter_hpcsec.hub.follow import SpawnFailed, failed, until_ready
from jupyter_hpcsec.hub.formpart import FormPart
from jupyter_hpcsec.hub.gatewaylink import GatewayLink
from jupyter_hpcsec.hub.hubteller import teller_for
from jupyter_hpcsec.hub.jobstate import Phase
from jupyter_hpcsec.hub.profiles import Choice
from jupyter_hpcsec.hub.progress import ProgressFeed, printable
from jupyter_hpcsec.hub.projectchoice import asked_for, parse_offer
from jupyter_hpcsec.hub.route import UnixSocketRoute, socket_url
from jupyter_hpcsec.hub.submission import job_variables
from jupyter_hpcsec.tunnel.session import SESSION_ID, Progress, State

CLEAN_UP_S = 10.0
"""Of ``start_timeout``, what is kept for ending session and job, so that it is we who say what happened."""
LIFETIME_MARGIN_S = 300
"""Between the end of a job and the end of everything that was issued for it."""


class HpcsecSpawnerMixin(UnixSocketRoute, EndPart, FormPart):
    """Put it before a batchspawner class: ``class Mine(HpcsecSpawnerMixin, batchspawner.SlurmSpawner)``."""

    feed = Instance(ProgressFeed, args=())
    """What the spawn page shows of this start."""
    session = ""
    """The session's id; empty when there is none."""
    was_ready = False
    _starting = False
    _token_hash = ""

    def gateway(self) -> GatewayLink:
        """The way to the gateway."""
        return GatewayLink.over(Path(self.admin_socket), self.gateway_timeout)

    # Start: JupyterHub awaits it, with start_timeout

    async def start(self) -> str:
        """Bring the session up; returns the URL of its socket. A failure is a ``SpawnFailed`` and leaves nothing
        behind.

        1. The hub has not mounted batchspawner's callback; the options are within a profile; the account exists.
        2. The gateway takes the session, with the launch that its job will be given.
        3. The batch system takes the job.
        4. The gateway learns which job it is: no other can enrol.
        5. Scheduler and gateway are followed until the server is ready.
        6. It answers HTTP on the session's socket.
        """
        self._starting, self.ended = True, None
        try:
            async with asyncio.timeout(self.start_timeout - min(CLEAN_UP_S, self.start_timeout / 10)):
                return await self._start()
        except BaseException as error:  # also when JupyterHub cancels the start
            told = self._told(error)
            self._tell_failed(error, getattr(told, "jupyterhub_message", type(error).__name__))
            await self.clean_up(getattr(told, "jupyterhub_message", "the start was cancelled"))
            if told is error:
                raise
            raise told from error
        finally:
            self._starting = False
            self.feed.close()

    def _tell_failed(self, error: BaseException, reason: str) -> None:
        """Have it recorded, with the rule of what was refused."""
        rule = error.rule if isinstance(error, Refused) else f"spawn.{type(error).__name__.lower()}"
        event = HubServer(
            action="failed", subject=Subject(user=self.user.name), server=self.name, session=self.session,
            decision="refused", rule=rule, reason=reason,
        )  # fmt: skip
        teller_for(Path(self.admin_socket)).note(event)

    def _told(self, error: BaseException) -> BaseException:
        """What the user is told of a failed start; JupyterHub itself has no words for one that took too long."""
        if isinstance(error, HpcsecError):
            return failed(error)
        if not isinstance(error, TimeoutError):
            return error
        return SpawnFailed(
            f"Your server was not ready within {self.start_timeout} seconds. The last news was: {self.feed.last}. "
            "Start it again later, or ask for less.",
            reason="start-timeout",
        )

    async def _start(self) -> str:
        verify_hub(self.user.settings)  # 1
        if self.internal_ssl:
            raise Malformed(
                "JupyterHub.internal_ssl can't be used with hpcsec, whose tunnel encrypts. Set it to False."
            )
        choice, account, gateway = self.choice(self.user_options), self.account(), self.gateway()
        self.feed.post("Asking the gateway for a session", 5)
        await gateway.wait_up(lambda message: self.feed.post(message, 5))
        groups = self.own_groups()
        project, charged = await self._project(choice, groups)
        registration = await gateway.client.register(  # 2
            user=self.user.name,
            server=self.name,
            uid=account.uid,
            lifetime_s=self.lifetime_s(choice),
            launch=self.launch(),
            home=str(account.home),
            groups=groups,
            project=project,
        )
        self.session, self.socket = registration.session, str(registration.socket)
        self._token_hash = hubtoken.token_hash(self.orm_spawner, self.api_token)
        self._save()
        url = socket_url(registration.socket)
        self.feed.post("Handing the job to the batch system", 10)
        variables = job_variables(registration.token, registration.endpoints, registration.ca)
        await self.submit(choice, variables, account=charged)  # 3
        self._save()
        self.log.info("Session %s of %s is job %s", self.session, self._log_name, self.job_id)
        await gateway.client.bind_job(self.session, self.job_id)  # 4
        await until_ready(self, self.feed.post, asyncio.sleep, self.startup_poll_interval, self.startup_poll_limit)  # 5
        await self._wait_for_answer(url)  # 6
        self.was_ready = True
        self._save()
        return url

    def lifetime_s(self, choice: Choice | None) -> int:
        """Seconds after which nothing of the session may be valid: the wait in the queue and the job's own time."""
        minutes = choice.minutes if choice else self.default_minutes
        return int(self.start_timeout) + 60 * int(minutes) + LIFETIME_MARGIN_S

    async def _project(self, choice: Choice | None, groups: list[str]) -> tuple[str, str]:
        """What the policy's ``{project}`` stands for, and the batch account that the project brings with it.

        Without a registry it is the account that the administrator gave the job. With one it is what the user asked for
        (the gateway decides whether it is theirs), or their only one.
        """
        asked = asked_for(self.user_options)
        offer = parse_offer(await self.gateway().client.projects(self.user.name, groups))
        if offer.mode == "off":
            if asked:
                raise Refused("options.project", "There are no projects here; leave the choice out.")
            return (choice.profile.account if choice else "") or str(getattr(self, "req_account", "")), ""
        chosen = offer.chosen(asked)
        return (chosen.id, chosen.terms.account) if chosen else (asked, "")

    def launch(self) -> dict[str, Any]:
        """What the agent starts once enrolled. It holds the API token: it goes by the tunnel, not by the job."""
        environment = {str(name): str(value) for name, value in self.get_env().items()}
        environment[gpu_watch.VARIABLE] = self.gpu_settings([group.name for group in self.user.groups])
        environment[ownrecords.VARIABLE] = ownrecords.own_records(self.user)
        return {
            "argv": [*self.cmd, *self.get_args()],
            "env": environment,
            "base_url": self.server.base_url,
        }

    async def wait(self, after: int, timeout_s: float) -> list[Progress]:
        """The gateway's next steps of this session; raises ``HpcsecError``."""
        return await self.gateway().client.wait(self.session, after, timeout_s)

    async def reason(self) -> str:
        """Why the gateway ended the session; empty when it did not or can't be asked."""
        try:
            return str((await self.gateway().client.show(self.session)).get("reason", ""))
        except HpcsecError:
            return ""

    async def _ending(self) -> Ended | None:
        try:
            facts = await self.gateway().client.show(self.session)
        except HpcsecError:
            return None
        return Ended.of(facts.get("reason", ""), facts.get("ended_by", ""))

    async def _wait_for_answer(self, url: str) -> None:
        self.feed.post("Checking that the notebook server answers", 95)
        try:
            await wait_for_http_server(f"{url}{self.server.base_url}api", timeout=self.http_timeout)
        except TimeoutError as error:
            raise SpawnFailed(
                f"The notebook server did not answer within {self.http_timeout} seconds. Start it again.",
                reason="http-timeout",
            ) from error

    async def progress(self) -> AsyncIterator[dict[str, str | int]]:
        """Events for the spawn page, from the first to the end of the start. Any number of pages may read."""
        async for event in self.feed.follow():
            yield event

    # End

    async def stop(self, now: bool = False) -> None:
        """End the session (certificate revoked, lanes cut), then the job; hard after ``stop_grace``."""
        await self._end_session("the server was stopped")
        if not self.job_id or not (view := await self.job()).is_alive:
            return
        if not now and view.phase is not Phase.QUEUED:  # a signal does not end a queued job
            await self._cancel(hard=False)
            if await self._has_ended(self.stop_grace):
                return
        await self._cancel(hard=True)
        if not now and not await self._has_ended(self.stop_grace):
            self.log.error("Job %s of session %s did not end; its session is revoked", self.job_id, self.session)

    async def clean_up(self, reason: str, *, kill: bool = False) -> None:
        """End the session and cancel the job at once, whatever of them exists. What fails is logged, not raised.

        ``kill``: nothing of the job is asked to end first, since it was told and has not.
        """
        await self._end_session(reason)
        if self.job_id:
            if kill and self.batch_kill_cmd:
                await self._cancel(kill=True)
            await self._cancel(hard=True)
        self.clear_state()

    async def _end_session(self, reason: str) -> None:
        if not self.api_token and self._token_hash:
            hubtoken.revoke_token(self.orm_spawner, self._token_hash)
        if not self.session:
            return
        try:
            await self.gateway().end(self.session, printable(reason, 200) or "ended by the hub")
        except HpcsecError as error:
            # with its job gone its agent is gone, too; what is left at the gateway ends with the session's lifetime
            self.log.warning("Session %s could not be ended at the gateway: %s", self.session, error)

    async def _cancel(self, *, hard: bool = False, kill: bool = False) -> None:
        try:
            batch = self.batch()
            complaint = await (batch.kill(self.job_id) if kill else batch.cancel(self.job_id, hard=hard))
        except HpcsecError as error:
            complaint = error.reason
        if complaint:
            self.log.warning("Cancelling job %s (hard: %s): %s", self.job_id, hard, complaint)

    async def _has_ended(self, seconds: float) -> bool:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while (await self.job()).is_alive:
            if loop.time() >= deadline:
                return False
            await asyncio.sleep(self.startup_poll_interval)
        return True

    # Poll: JupyterHub asks now and then, and first of all after its own restart

    async def poll(self) -> int | None:
        """``None`` while the server runs or starts; 1 when it ended, and then nothing of it is left."""
        if self._starting:
            return None
        if not self.session:
            return 1
        if self._check_pending:
            return await self._recover()
        return await self._ended_status()

    async def _ended_status(self) -> int | None:
        view = await self.job()
        if view.phase is Phase.GONE:  # asked twice: a controller that fails over may forget for a moment
            await asyncio.sleep(self.startup_poll_interval)
            view = await self.job()
        was_ended = await self.gateway().state(self.session) is State.ENDED
        if view.is_alive and not was_ended:
            return None
        if was_ended:
            self.ended = self.ended or await self._ending()
        self.log.info(
            "Session %s of %s ended: job %s is %s", self.session, self._log_name, self.job_id, view.state or view.phase
        )
        reason = "the session was ended" if view.is_alive else "the job ended"
        await self.clean_up(reason, kill=view.phase is Phase.RUNNING)
        return 1

    async def _recover(self) -> int | None:
        """After a hub restart: wait for the gateway (the hub itself may be about to start it) and for the job's agent.

        A server that was ready is waited for as long as its job lives: neither a hub nor a gateway that is down ends a
        kernel. One that was still starting has ``recovery_timeout`` to become ready; nobody may be waiting for it any
        more.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.recovery_timeout
        while (status := await self._ended_status()) is None:
            if await self.gateway().state(self.session) is State.READY:
                self.was_ready = True
                self._save()
                return None
            if not self.was_ready and loop.time() >= deadline:
                self.log.warning("Session %s was starting when the hub went down; cancelled", self.session)
                await self.clean_up("it was starting when the hub went down, and did not become ready")
                return 1
            await asyncio.sleep(1)
        return status

    # What survives a hub restart

    def get_state(self) -> dict[str, Any]:
        """The job, the session and the socket; no secret."""
        state: dict[str, Any] = super().get_state()
        state.pop("job_status", None)
        if self.session:
            state["hpcsec"] = {
                "session": self.session,
                "socket": self.socket,
                "was_ready": self.was_ready,
                "token_hash": self._token_hash,
            }
        return state | self.ended_state()

    def load_state(self, state: dict[str, Any]) -> None:
        """The reverse. A state that is not ours, or not whole, is no session: ``poll`` then says that nothing runs."""
        job_id, ours = state.get("job_id"), state.get("hpcsec")
        self.ended = Ended.from_state(state.get("hpcsec_ended"))
        known = isinstance(job_id, str) and JOB_ID.fullmatch(job_id) is not None
        super().load_state({"job_id": job_id if known else ""})
        if isinstance(ours, dict) and SESSION_ID.fullmatch(str(ours.get("session", ""))):
            self.session = str(ours["session"])
            self.socket = str(ours.get("socket", ""))
            self.was_ready = ours.get("was_ready") is True
            self._token_hash = str(ours.get("token_hash", ""))

    def clear_state(self) -> None:
        """Forget job and session; the next start begins with an empty page."""
        super().clear_state()
        self.session, self.socket, self.was_ready, self._token_hash = "", "", False, ""
        if self.feed.is_closed and not self._starting:
            self.feed = ProgressFeed()

    def _save(self) -> None:
        hubtoken.save_state(self.orm_spawner, self.get_state())
