"""The spawner's part that deals with what users ask for: the form, and the check that every start goes through."""

from collections.abc import Callable, Mapping
from typing import Any

from traitlets import default

from jupyter_hpcsec.errors import HpcsecError
from jupyter_hpcsec.hub.follow import failed
from jupyter_hpcsec.hub.profileform import options_from_form
from jupyter_hpcsec.hub.profiles import Choice, Profile, choose, visible
from jupyter_hpcsec.hub.projectchoice import asked_for
from jupyter_hpcsec.hub.traits import SpawnerTraits


def _convert(form: Mapping[str, Any]) -> dict[str, str | int]:
    try:
        return options_from_form(form)
    except HpcsecError as error:
        raise failed(error) from error


class ChoicePart(SpawnerTraits):
    """Nothing of ``user_options`` leaves it but a ``Choice``."""

    def offered(self) -> tuple[Profile, ...]:
        """The profiles that this user may choose."""
        return visible(self.parsed_profiles(), self._hub_groups())

    def choice(self, user_options: Any) -> Choice | None:
        """The user's options, checked; ``None`` where no profiles are set. Raises ``Refused``."""
        return choose(self.parsed_profiles(), user_options, self._hub_groups())

    def _hub_groups(self) -> frozenset[str]:
        return frozenset(group.name for group in getattr(self.user, "groups", ()))

    @default("options_from_form")
    def _default_options_from_form(self) -> Callable[[Mapping[str, Any]], dict[str, str | int]]:
        return _convert

    async def _run_apply_user_options(self, user_options: Any) -> None:
        """JupyterHub's hook before ``start``: refuses, and never sets an attribute as ``apply_user_options`` could."""
        try:
            self.choice(user_options)
            asked_for(user_options)
        except HpcsecError as error:
            raise failed(error) from error
