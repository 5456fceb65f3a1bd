"""The web server behind the proxy: ``python -I -m jupyter_hpcsec.ops.bench.web_server SOCKET PORT DIRECTORY``.

Serves the files of DIRECTORY and a small page, on a unix socket and on an open port of the loopback address at once, by
Tornado's own static handler, which is what Jupyter Server's ``/files/`` comes to. The first word of a path is the
proxy's route and means nothing here.
"""

import asyncio
import sys
from pathlib import Path

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_unix_socket
from tornado.web import Application, RequestHandler, StaticFileHandler

from jupyter_hpcsec.ops.ports import LOOPBACK


class Small(RequestHandler):
    """About what ``GET /api/status`` answers."""

    async def get(self) -> None:
        """A short JSON object."""
        self.write({"started": "2024-01-01T00:00:00.000000Z", "last_activity": "…", "connections": 1, "kernels": 1})


def application(directory: Path) -> Application:
    """``/ROUTE/files/NAME`` and ``/ROUTE/small``."""
    return Application([(r"/\w+/small", Small), (r"/\w+/files/(.*)", StaticFileHandler, {"path": str(directory)})])


async def serve(path: Path, port: int, directory: Path) -> None:
    """Serve until a signal ends the process."""
    server = HTTPServer(application(directory))
    server.listen(port, LOOPBACK)
    server.add_socket(bind_unix_socket(str(path)))
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
