"""A session for the tests of the app proxy: apps and a real jupyter_server in a network namespace of their own.

Run as ``unshare -Urn python appsession.py DIRECTORY [PROGRAM…]``: brings the loopback up, starts the programs
in the network, becomes the server.
Who asks is said by a cookie ``jupyterhub-user-alice`` or a token, both ``SECRET:<name>``; ``SECRET:service/<name>`` is
a service of the Hub.
"""

import fcntl
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

SECRET = "the-proof"
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1  # linux/sockios.h, linux/if.h

CONFIG = f"""
from jupyter_server.auth import Authorizer, IdentityProvider, User
class Known(IdentityProvider):
    def get_user(self, handler):
        said = handler.request.headers.get("Authorization", "").removeprefix("token ")
        handler._token_authenticated = bool(said)
        said = said or handler.get_cookie("jupyterhub-user-alice", "")
        secret, _, name = said.partition(":")
        if secret != {SECRET!r}:
            return None
        kind, _, name = name.rpartition("/")
        user = User(username=name)
        user.hub_user = {{"name": name, "kind": kind or "user"}}  # as JupyterHub's provider has it
        return user
class NoApps(Authorizer):
    def is_authorized(self, handler, user, action, resource):
        return not handler.request.path.endswith("/not-authorized")
c.ServerApp.identity_provider_class = Known
c.ServerApp.authorizer_class = NoApps
c.ServerApp.allow_remote_access = True
"""


def loopback_up() -> None:
    """Netdevice(7)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(control, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def main(directory: Path, programs: list[str]) -> None:
    if programs:
        loopback_up()
    for program in programs:
        subprocess.Popen([sys.executable, program, str(directory)])
    (directory / "jupyter_server_config.py").write_text(CONFIG)
    os.execv(  # noqa: S606 - without a shell, on purpose
        sys.executable,
        [sys.executable, "-m", "jupyter_server", f"--ServerApp.sock={directory / 's'}", "--allow-root",
         "--ServerApp.base_url=/user/alice/", "--no-browser", "--ServerApp.log_level=INFO"],
    )  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
