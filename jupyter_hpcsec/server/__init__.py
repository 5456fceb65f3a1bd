"""The jupyter_server extension that runs beside the notebooks: says what the session is and what it may do, and starts
kernels and terminals without the session's secrets.

It is enabled by its data files wherever the package is installed, and does nothing in a server that no session started.
It runs as the user, who can change it. What has to hold is enforced on the server from outside (``access.sandbox``);
here is what the server itself enforces on what it starts, and the courtesy of clear answers.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Where jupyter_server finds the extension."""
    return [{"module": "jupyter_hpcsec.server"}]


def _link_jupyter_server_extension(app: "ServerApp") -> None:
    """Called before contents, kernels and terminals are configured: ours wins over every configuration file."""
    from jupyter_hpcsec.server.facts import SESSION_VARIABLE  # noqa: PLC0415 - only where the extension is used
    from jupyter_hpcsec.server.wiring import link  # noqa: PLC0415

    if os.environ.get(SESSION_VARIABLE):
        link(app)


def _load_jupyter_server_extension(app: "ServerApp") -> None:
    """Called when the web application stands: adds our handlers."""
    from jupyter_hpcsec.server import gpu_watch  # noqa: PLC0415 - only where the extension is used
    from jupyter_hpcsec.server.apps.handlers import add_apps  # noqa: PLC0415
    from jupyter_hpcsec.server.closed import close_events  # noqa: PLC0415
    from jupyter_hpcsec.server.events import tell  # noqa: PLC0415
    from jupyter_hpcsec.server.facts import SESSION_VARIABLE  # noqa: PLC0415
    from jupyter_hpcsec.server.handlers import add_handlers  # noqa: PLC0415
    from jupyter_hpcsec.server.stale import keep_told  # noqa: PLC0415
    from jupyter_hpcsec.server.transfers.handlers import add_transfers  # noqa: PLC0415
    from jupyter_hpcsec.server.wiring import watch_contents  # noqa: PLC0415

    if os.environ.get(SESSION_VARIABLE):
        add_handlers(app.web_app)
        add_apps(app.web_app)
        close_events(app.web_app)
        watch_contents(app)
        add_transfers(app, tell)
        keep_told(app)
        gpu_watch.announce(app, os.environ)
    else:
        app.log.info("hpcsec: this server was not started by a session; the extension does nothing")


async def _start_jupyter_server_extension(app: "ServerApp") -> None:
    """Called when the server's event loop runs: starts what runs beside it."""
    from jupyter_hpcsec.server import gpu_watch  # noqa: PLC0415 - only where the extension is used
    from jupyter_hpcsec.server.events import tell  # noqa: PLC0415
    from jupyter_hpcsec.server.facts import SESSION_VARIABLE  # noqa: PLC0415

    if os.environ.get(SESSION_VARIABLE):
        await gpu_watch.start(app, tell)
