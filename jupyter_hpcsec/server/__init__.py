"""The jupyter_server extension that runs beside the notebooks: says what the session is, keeps kernels off the network.

It is enabled by its data files wherever the package is installed, and does nothing in a server that no session started.
It runs as the user, who can change it: it informs and sets defaults, it enforces nothing.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Where jupyter_server finds the extension."""
    return [{"module": "jupyter_hpcsec.server"}]


def _link_jupyter_server_extension(app: "ServerApp") -> None:
    """Called before kernels and handlers are configured."""
    from jupyter_hpcsec.server.apps.hints import give_hints  # noqa: PLC0415 - only where the extension is used
    from jupyter_hpcsec.server.facts import SESSION_VARIABLE  # noqa: PLC0415
    from jupyter_hpcsec.server.kernels import keep_kernels_local  # noqa: PLC0415

    if os.environ.get(SESSION_VARIABLE):
        give_hints(os.environ, os.environ.get("JUPYTERHUB_SERVICE_PREFIX") or app.base_url)
        for name in keep_kernels_local(app.config):
            app.log.warning(
                "hpcsec: %s is not used: in a session kernels are reached by sockets in a private place", name
            )


def _load_jupyter_server_extension(app: "ServerApp") -> None:
    """Called when the web application stands: adds our handlers."""
    from jupyter_hpcsec.server.apps.handlers import add_apps  # noqa: PLC0415
    from jupyter_hpcsec.server.facts import SESSION_VARIABLE  # noqa: PLC0415
    from jupyter_hpcsec.server.handlers import add_handlers  # noqa: PLC0415

    if os.environ.get(SESSION_VARIABLE):
        add_handlers(app.web_app)
        add_apps(app.web_app)
    else:
        app.log.info("hpcsec: this server was not started by a session; the extension does nothing")
