"""A logout at the hub cuts what the browser still holds: its websockets and requests end within a second.

The kernel and the job go on: the user may log in again and find them. JupyterHub has no hook for a logout that works
with every authenticator, so that the one step that all logout handlers share is wrapped, once.
"""

from typing import Any

from jupyterhub.handlers.login import LogoutHandler

from jupyter_hpcsec.errors import HpcsecError

REASON = "the user logged out at the hub"


def install(handler: type[Any] = LogoutHandler) -> None:
    """Let ``handler``'s logout cut the user's sessions; a second call changes nothing."""
    original = handler.default_handle_logout
    if getattr(original, "cuts_sessions", False):
        return

    async def default_handle_logout(self: Any) -> None:
        user = self.current_user
        await original(self)  # the cookie first: who connects again after the cut must log in
        if user:
            await cut_sessions(user, self.log)

    default_handle_logout.cuts_sessions = True  # type: ignore[attr-defined]
    handler.default_handle_logout = default_handle_logout


async def cut_sessions(user: Any, log: Any) -> None:
    """Cut the connections of all of a hub user's sessions. What can't be cut is logged: the logout itself goes on."""
    for spawner in user.spawners.values():
        session = getattr(spawner, "session", "")
        if not session:
            continue
        try:
            await spawner.gateway().client.cut(session, REASON)
        except HpcsecError as error:
            log.warning("Session %s could not be cut at the logout of %s: %s", session, user.name, error)
