"""A ``World`` that answers from tables, for tests; it ships beside the real one so that both stay alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jupyter_hpcsec.ops.doctor.handshake import Endpoint, Handshake
from jupyter_hpcsec.ops.doctor.world import ClockState, FileFact, HttpAnswer, Ran
from jupyter_hpcsec.tunnel.peer import PeerCredentials


@dataclass
class FakeWorld:
    """Answers from tables; a missing command or file is missing, a stored exception is raised."""

    time: float = 1_800_000_000.0
    env: dict[str, str] = field(default_factory=dict)
    commands: dict[str, Ran] = field(default_factory=dict)
    files: dict[str, FileFact | OSError] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    shakes: dict[str, Handshake] = field(default_factory=dict)
    old: Handshake = field(default_factory=lambda: Handshake(tls_error="tlsv1 alert protocol version"))
    answers: dict[str, HttpAnswer | OSError] = field(default_factory=dict)
    abi: int = 7
    no_namespaces: str = ""
    gateway: PeerCredentials | None = None
    clock_state: ClockState = field(default_factory=lambda: ClockState(True, 0.001))
    stdin: list[str] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)

    def now(self) -> float:
        """See ``World``."""
        return self.time

    def environ(self) -> Mapping[str, str]:
        """See ``World``."""
        return self.env

    def uid(self) -> int:
        """See ``World``."""
        return 1000

    def user_name(self, uid: int) -> str:
        """See ``World``."""
        return {0: "root", 104: "munge", 900: "hpcsec", 1000: "alice"}.get(uid, str(uid))

    def run(self, argv: Sequence[str], stdin: str = "") -> Ran | None:
        """See ``World``."""
        self.stdin.append(stdin)
        return self.commands.get(" ".join(argv))

    def has_command(self, name: str) -> bool:
        """See ``World``."""
        return any(command.split()[0] == name for command in self.commands)

    def stat(self, path: Path) -> FileFact | None:
        """See ``World``."""
        found = self.files.get(str(path))
        if isinstance(found, OSError):
            raise found
        return found

    def owner_of_socket(self, path: Path) -> PeerCredentials:
        """See ``World``."""
        if self.gateway is None:
            raise FileNotFoundError(str(path))
        return self.gateway

    def read(self, path: Path) -> str:
        """See ``World``."""
        if str(path) not in self.texts:
            raise FileNotFoundError(str(path))
        return self.texts[str(path)]

    def listdir(self, path: Path) -> list[str]:
        """See ``World``."""
        return sorted(Path(name).name for name in {**self.files, **self.texts} if str(Path(name).parent) == str(path))

    def shake_hands(
        self, endpoint: Endpoint, *, server_name: str, alpn: str, ca: bytes | None, old: bool = False
    ) -> Handshake:
        """See ``World``."""
        return self.old if old else self.shakes[alpn]

    def http(self, url: str, unix: Path | None = None, body: bytes | None = None) -> HttpAnswer:
        """See ``World``."""
        if body is not None:
            self.sent.append(body)
        answer = self.answers.get(str(unix) if unix else url, ConnectionRefusedError(111, "Connection refused"))
        if isinstance(answer, OSError):
            raise answer
        return answer

    def landlock_abi(self) -> int:
        """See ``World``."""
        return self.abi

    def why_no_namespaces(self) -> str:
        """See ``World``."""
        return self.no_namespaces

    def clock(self) -> ClockState:
        """See ``World``."""
        return self.clock_state
