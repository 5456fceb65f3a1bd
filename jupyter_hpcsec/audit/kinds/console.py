"""Kinds about the security console: who came in, and who was turned away (``console``)."""

from jupyter_hpcsec.audit.events import Event, Name, Path


class ConsoleEntered(Event, frozen=True, kw_only=True, tag="console.entered"):
    """Somebody logged in to the console by the hub. ``scopes`` are the custom ones that they hold."""

    scopes: Path = ""


class ConsoleRefused(Event, frozen=True, kw_only=True, tag="console.refused"):
    """The console refused a request, by ``rule``; ``object`` names the route's path, without its query."""

    method: Name = ""
