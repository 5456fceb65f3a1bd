"""What the gateway's settings become: plain values, which every part may take. ``config`` makes them."""

from dataclasses import dataclass, field
from pathlib import Path

from jupyter_hpcsec.config_projects import ProjectSettings
from jupyter_hpcsec.config_recording import RecordingSettings


@dataclass(frozen=True)
class Limits:
    """What one agent, one address or one session may use. All are on by default. Times are seconds."""

    handshake_s: float = 10.0
    handshakes_per_second: float = 100.0
    handshake_burst: int = 400
    unfinished_handshakes: int = 1024
    lanes_per_session: int = 64
    idle_lanes: int = 2
    waiting_connections: int = 256
    wait_for_lane_s: float = 10.0
    stream_idle_s: float = 3600.0
    quiet_after_s: float = 60.0
    heartbeat_s: int = 15
    dead_after_s: int = 45


@dataclass(frozen=True)
class GatewaySettings:
    """The gateway's settings as values.

    ``allowed_uids`` may use the admin socket and the sessions' sockets, ``proxy_uids`` the latter only.
    """

    listen: tuple[str, ...]
    public_endpoints: tuple[str, ...]
    state_directory: Path
    run_directory: Path
    admin_socket: Path
    socket_gid: int | None
    allowed_uids: frozenset[int]
    proxy_uids: frozenset[int]
    hub_api_url: str
    hub_base_url: str
    trust_domain: str
    issuer: str
    attestors: tuple[str, ...]
    compares_node_address: bool
    token_lifetime_s: int
    certificate_lifetime_s: int
    limits: Limits
    policy_file: Path | None = None
    """``None``: no access control at all, by ``unsafe_no_access_control``."""
    policy_grace_s: int = 600
    code_owners: tuple[int, ...] = ()
    unsafe_user_owned_code: bool = False
    audit_directory: Path | None = None
    """``None``: ``audit`` in the state directory."""
    audit_checkpoints: Path | None = None
    """``None``: ``audit-checkpoints`` in the state directory."""
    audit_retention_days: int = 0
    audit_values_days: int = 0
    """0: kept for ever."""
    audit_witness: str = ""
    audit_cosigned: Path | None = None
    metrics_listen: str = ""
    metrics_sessions: bool = False
    node_helpers: bool = False
    forward_directory: Path | None = None
    """``None``: ``forward`` in the state directory."""
    recording: RecordingSettings = field(default_factory=RecordingSettings)
    projects: ProjectSettings = field(default_factory=ProjectSettings)
    trusted_proxies: tuple[str, ...] = ()
    """Networks of proxies in front of the hub's, as text."""
    is_forwarded: bool = True
    """Whether the proxy writes ``X-Forwarded-For``."""

    @property
    def forward(self) -> Path:
        """Where the forwarder keeps how far each sink is."""
        return self.forward_directory or self.state_directory / "forward"

    @property
    def record(self) -> tuple[Path, Path]:
        """The audit record's directory, and its second place."""
        return (
            self.audit_directory or self.state_directory / "audit",
            self.audit_checkpoints or self.state_directory / "audit-checkpoints",
        )
