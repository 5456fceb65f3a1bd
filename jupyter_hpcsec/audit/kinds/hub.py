"""Kinds about JupyterHub: what it tells the gateway (``trust: hub``). All of them are the hub's to tell, no others."""

from jupyter_hpcsec.audit.events import Count, Event, Name, Sentence


class HubLogin(Event, frozen=True, kw_only=True, tag="hub.login"):
    """Somebody logged in: ``subject.login`` as they called themselves, ``subject.user`` as the hub does."""


class HubLoginRefused(Event, frozen=True, kw_only=True, tag="hub.login-refused"):
    """A login was refused; ``subject.login`` is what was typed in as the name."""


class HubLogout(Event, frozen=True, kw_only=True, tag="hub.logout"):
    """Somebody logged out."""


class HubToken(Event, frozen=True, kw_only=True, tag="hub.token"):
    """An API token of ``subject.user``: ``action`` is ``create`` or ``revoke``. ``object`` is the request's path."""

    action: Name = ""


class HubShare(Event, frozen=True, kw_only=True, tag="hub.share"):
    """Access to a server of ``subject.user`` was shared, by a code too, or taken back: ``action`` is the method."""

    action: Name = ""


class HubServer(Event, frozen=True, kw_only=True, tag="hub.server"):
    """A server of ``subject.user``: ``action`` is ``start``, ``started``, ``stop``, ``stopped`` or ``failed``."""

    action: Name = ""


class HubAdminAccess(Event, frozen=True, kw_only=True, tag="hub.admin-access"):
    """``subject.impersonator`` asks for access to a server of ``subject.user``: an admin, or a share's holder."""


class HubLost(Event, frozen=True, kw_only=True, tag="hub.lost"):
    """Events of the hub that could not be handed to the gateway: how many of which kind."""

    lost: Count = 0
    kinds: Sentence = ""
