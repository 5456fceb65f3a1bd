"""The spawner's part that makes the spawn page: whatever it asks, the page comes, and soon."""

import asyncio
import functools
import weakref
from asyncio import AbstractEventLoop
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any

from traitlets import default

from jupyter_hpcsec.errors import HpcsecError
from jupyter_hpcsec.hub import account as accounts
from jupyter_hpcsec.hub.gatewaylink import GatewayLink
from jupyter_hpcsec.hub.jobpart import JobPart
from jupyter_hpcsec.hub.profileform import render_form
from jupyter_hpcsec.hub.profiles import Choice, Profile
from jupyter_hpcsec.hub.projectchoice import Offer, parse_offer
from jupyter_hpcsec.hub.queueestimate import Estimates, parse_test_only

GATEWAY_S = 3.0
"""How long the page waits for the gateway to say which projects there are."""
_BY_LOOP: "weakref.WeakKeyDictionary[AbstractEventLoop, Estimates]" = weakref.WeakKeyDictionary()


class FormPart(JobPart):
    """Projects, profiles with estimates, what will be protected and recorded."""

    def gateway(self) -> GatewayLink:
        """The way to the gateway."""
        raise NotImplementedError("BUG: a part without its spawner")

    def own_groups(self) -> list[str]:
        """The user's groups, by the hub and by this host; raises ``Refused`` where they have no account."""
        return sorted({*self._hub_groups(), *accounts.group_names(self.account().groups)})

    @default("options_form")
    def _default_options_form(self) -> Callable[[Any], Coroutine[Any, Any, str]]:
        return lambda spawner: spawner.form()

    async def form(self) -> str:
        """The HTML of the choices; empty where there is nothing to choose and nothing to be told first."""
        offer, estimates = await asyncio.gather(self._offer(), self._estimates())
        return render_form(self.offered(), self.user_options, offer=offer, estimates=estimates)

    async def _offer(self) -> Offer | None:
        try:
            async with asyncio.timeout(GATEWAY_S):
                return parse_offer(await self.gateway().client.projects(self.user.name, self.own_groups()))
        except (HpcsecError, TimeoutError) as error:
            self.log.warning("The spawn page of %s is without projects: %s", self._log_name, error)
            return None

    async def _estimates(self) -> dict[str, str]:
        """By profile's name; empty where the site does not ask the scheduler."""
        profiles = self.offered()
        if not self.batch_estimate_cmd or not profiles:
            return {}
        known = _BY_LOOP.setdefault(asyncio.get_running_loop(), Estimates(self.estimate_interval))
        questions = {(self.user.name, each): functools.partial(self._foresee, each) for each in profiles}
        answers = await known.of(questions, self.estimate_wait)
        return {profile.name: answer for profile, answer in zip(profiles, answers, strict=True)}

    async def _foresee(self, profile: Profile) -> str:
        """When a job of a profile's usual size would start."""
        usual = Choice(
            profile,
            cpus=profile.cpus.default,
            memory_gib=profile.memory_gib.default,
            gpus=profile.gpus.default,
            minutes=profile.minutes.default,
        )
        batch = self.batch()
        script = await self.script(batch, usual, ())
        said = await batch.foresee(self.batch_estimate_cmd, script)
        return parse_test_only(said, datetime.now())
