"""The rival: OpenSSH's ``ssh -R`` from a unix socket on the hub's side to one on the node's.

A private sshd on the loopback address with keys, configuration and authorised keys of its own in a temporary directory;
nothing of the user's or the system's ssh settings is read or changed. Tuned as an expert would: the fastest cipher with
hardware support, no compression, no multiplexing with other connections, no keep-alive traffic.
"""

import asyncio
import getpass
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.ops.bench.load import until_exists
from jupyter_hpcsec.ops.family import Family
from jupyter_hpcsec.ops.ports import LOOPBACK

FAST_CIPHER = "aes128-gcm@openssh.com"
PRIVILEGE_SEPARATION = Path("/run/sshd")
"""sshd refuses to start as root without this directory, which its service makes where that runs."""
SBIN = "/usr/sbin:/usr/local/sbin:/sbin"

SERVER_CONFIG = """\
ListenAddress {host}
Port {port}
HostKey {directory}/host
AuthorizedKeysFile {directory}/user.pub
StrictModes no
PidFile none
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AllowStreamLocalForwarding yes
StreamLocalBindUnlink yes
Compression no
ClientAliveInterval 0
TCPKeepAlive no
LogLevel ERROR
"""

CLIENT_OPTIONS = {
    "UserKnownHostsFile": "{directory}/known_hosts",
    "StrictHostKeyChecking": "yes",
    "IdentitiesOnly": "yes",
    "IdentityAgent": "none",
    "BatchMode": "yes",
    "Compression": "no",
    "ControlMaster": "no",
    "ControlPath": "none",
    "ServerAliveInterval": "0",
    "TCPKeepAlive": "no",
    "ExitOnForwardFailure": "yes",
    "LogLevel": "ERROR",
}


def client_command(ssh: str, directory: Path, *, port: int, cipher: str, entrance: Path, server: Path) -> list[str]:
    """The node's end. ``cipher`` is empty for ssh's own choice."""
    options = {name: value.format(directory=directory) for name, value in CLIENT_OPTIONS.items()}
    if cipher:
        options["Ciphers"] = cipher
    words = [f"-o{name}={value}" for name, value in options.items()]
    return [
        *(ssh, "-F", "none", "-N", "-i", str(directory / "user"), "-p", str(port), "-l", getpass.getuser()),
        *words,
        *("-R", f"{entrance}:{server}", LOOPBACK),
    ]


class Ssh:
    """``ssh -R`` and its sshd, both ended by the family that they are started in."""

    def __init__(self, family: Family, directory: Path, *, cipher: str, name: str = "ssh", prefix: str = "") -> None:
        self.name, self._prefix = name, prefix
        self._family, self._directory, self._cipher = family, directory, cipher

    async def start(self, server: Path) -> Path:
        """Make keys, start both ends, wait for the forwarded socket."""
        path = os.pathsep.join([os.environ.get("PATH", os.defpath), SBIN])
        sshd, ssh, keygen = (shutil.which(program, path=path) for program in ("sshd", "ssh", "ssh-keygen"))
        if not (sshd and ssh and keygen):
            raise Unavailable("OpenSSH's client and server are needed to compare with: install openssh-server")
        self._directory.mkdir(mode=0o700)
        for key in ("host", "user"):
            await _make_key(keygen, self._directory / key)
        port = self._family.port()
        host_key = (self._directory / "host.pub").read_text()
        (self._directory / "known_hosts").write_text(f"[{LOOPBACK}]:{port} {host_key}")
        config = self._directory / "sshd_config"
        config.write_text(SERVER_CONFIG.format(host=LOOPBACK, port=port, directory=self._directory))
        # sshd must be started by its full path, since it starts itself again for each connection (sshd(8))
        self._start("sshd", [sshd, "-D", "-e", "-f", str(config)])
        await self._until_listening(port)
        entrance = self._directory / "in.sock"
        self._start(
            "ssh",
            client_command(ssh, self._directory, port=port, cipher=self._cipher, entrance=entrance, server=server),
        )
        await until_exists(entrance, self._family, "ssh -R")
        return entrance

    async def _until_listening(self, port: int) -> None:
        for _ in range(250):
            self._family.check()
            try:
                _, writer = await asyncio.open_connection(LOOPBACK, port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return
        raise Unavailable("the private sshd did not begin to listen within 5 s")

    def _start(self, end: str, argv: list[str]) -> None:
        self._family.start(
            f"{self._prefix}{self.name}-{end}", argv, environment=dict(os.environ), directory=self._directory
        )

    def ends(self) -> Mapping[str, int]:
        """The hub's end (sshd and the children it makes) and the node's."""
        return {end: self._family.parts[f"{self._prefix}{self.name}-{end}"].process.pid for end in ("sshd", "ssh")}


async def _make_key(keygen: str, path: Path) -> None:
    process = await asyncio.create_subprocess_exec(keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(path))
    if await process.wait() != 0:
        raise Unavailable("ssh-keygen could not make a key")


class PrivilegeSeparation:
    """Makes sshd's directory for as long as the block lasts, where root needs it and it is missing."""

    def __init__(self, path: Path = PRIVILEGE_SEPARATION) -> None:
        self._path, self._was_made = path, False

    def __enter__(self) -> "PrivilegeSeparation":
        if os.geteuid() == 0 and not self._path.exists():
            self._path.mkdir(mode=0o755)
            self._was_made = True
        return self

    def __exit__(self, *_: object) -> None:
        if self._was_made:
            self._path.rmdir()
