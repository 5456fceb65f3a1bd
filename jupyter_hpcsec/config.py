"""Every setting of the gateway, as traitlets with help and validation; ``settings()`` turns them into plain values.

An admin writes ``c.HpcsecGateway.<name> = ...`` in a Python file; see ``hub_config/hpcsec_gateway_config.py``. Nothing
here opens a file or a socket. Defaults are the secure choice; a name that weakens one begins with ``unsafe``.
"""

import grp
import ipaddress
import os
import pwd
import re
from pathlib import Path
from typing import Any

from traitlets import Bool, Float, Integer, List, TraitError, Unicode, default, validate
from traitlets.config import Configurable

from jupyter_hpcsec.config_projects import ProjectTraits
from jupyter_hpcsec.config_recording import RecordingTraits
from jupyter_hpcsec.config_values import GatewaySettings, Limits

__all__ = ["ATTESTORS", "DEFAULT_ADMIN_SOCKET", "GatewaySettings", "HpcsecGateway", "Limits"]

DEFAULT_ADMIN_SOCKET = "/run/hpcsec/admin.sock"

_BASE_URL = re.compile(r"/(?:[A-Za-z0-9_~-][A-Za-z0-9._~-]*/)*")
ATTESTORS = ("scheduler", "munge", "none")


class HpcsecGateway(ProjectTraits, RecordingTraits, Configurable):
    """The gateway: the one TLS port that compute nodes dial, and one unix socket per session for the proxy."""

    listen = List(
        Unicode(),
        ["0.0.0.0:8443", "[::]:8443"],
        help="Addresses of the TLS port, as host:port or [address]:port. The only port that nodes must reach.",
    ).tag(config=True)

    public_endpoints = List(
        Unicode(),
        help="What nodes dial, as host:port, tried in this order. Must be set: nodes can't guess this host's name.",
    ).tag(config=True)

    state_directory = Unicode(
        "/var/lib/hpcsec", help="Keys and the session database. 0700, owned by the gateway's user."
    ).tag(config=True)

    run_directory = Unicode(
        "/run/hpcsec", help="Session sockets; lower-case path of at most 60 bytes, on a local file system."
    ).tag(config=True)

    admin_socket = Unicode(help="Socket for hub and admins. Default: admin.sock in the run directory.").tag(config=True)

    @default("admin_socket")
    def _admin_socket(self) -> str:
        return str(Path(self.run_directory) / "admin.sock")

    socket_group = Unicode(
        "",
        help="Group that may connect to the sockets (mode 0660), for a hub or proxy that runs under another user than "
        "the gateway and is not root. Empty: 0600. The peer's user is checked in either case.",
    ).tag(config=True)

    allowed_peers = List(
        Unicode(),
        help="Users (names or numbers) of the hub on this host: they may register and end sessions. Root and the "
        "gateway's own user always may.",
    ).tag(config=True)

    proxy_users = List(
        Unicode(),
        help="Users of the proxy where it is not the hub's: they may connect to sessions' sockets and nothing else.",
    ).tag(config=True)

    hub_api_url = Unicode(
        "http://127.0.0.1:8081/hub/api", help="The Hub API as seen from this host; http+unix:// works too."
    ).tag(config=True)

    hub_base_url = Unicode("/", help="JupyterHub's base_url.").tag(config=True)

    trust_domain = Unicode("hpcsec.internal", help="SPIFFE trust domain of the certificates: your site's name.").tag(
        config=True
    )

    attestors = List(
        Unicode(),
        ["scheduler", "munge"],
        help="What must agree that an enrolling job is the one that was started, all of them: 'scheduler' (its "
        "answers), 'munge' (a MUNGE credential). 'none' is for a local demonstration only and stands alone.",
    ).tag(config=True)

    token_lifetime_s = Integer(86400, min=60, help="Longest time that a job may wait in the queue.").tag(config=True)

    certificate_lifetime_s = Integer(3600, min=60, max=3600, help="Life of a job's certificate before renewal.").tag(
        config=True
    )

    handshakes_per_second = Float(
        100.0, min=1.0, help="New connections a second from one address (IPv6: one /64)."
    ).tag(config=True)
    handshake_burst = Integer(400, min=1, help="New connections at once from one address.").tag(config=True)
    unfinished_handshakes = Integer(1024, min=1, help="Handshakes in progress, all addresses together.").tag(
        config=True
    )
    lanes_per_session = Integer(64, min=2, max=1024, help="Lanes of one session.").tag(config=True)
    idle_lanes = Integer(2, min=1, max=16, help="Lanes dialled ahead for a session in use; one for a quiet one.").tag(
        config=True
    )
    wait_for_lane_s = Float(
        10.0, min=0.1, help="How long a browser's request waits for a lane before it gets a 503."
    ).tag(config=True)
    stream_idle_s = Float(3600.0, min=60.0, help="A stream without a byte for so long is cut.").tag(config=True)
    heartbeat_s = Integer(15, min=1, max=300, help="Seconds between heartbeats of an agent.").tag(config=True)
    dead_after_s = Integer(45, min=3, max=900, help="Silence after which a peer counts as gone.").tag(config=True)

    unsafe_no_attestation = Bool(
        False, help="Must be True for attestors = ['none']: any process that holds a token could then enrol."
    ).tag(config=True)

    unsafe_any_node_address = Bool(
        False,
        help="True does not compare where an enrolling connection comes from with its node's address: for nodes behind "
        "address translation. A token stolen together with its MUNGE credential then works from any node.",
    ).tag(config=True)

    node_helpers = Bool(
        False,
        help="True hears root's helpers on the nodes (hpcsec gpu node watch), each by a MUNGE credential of uid 0 from "
        "the node's address as Slurm has it. Needs munge and scontrol on this host.",
    ).tag(config=True)

    policy_file = Unicode(
        "/etc/hpcsec/policy.yaml",
        help="Who may read and write what, and what sessions may do on the network: see the admin guide. Owned by root "
        "or the gateway's user and writable by nobody else. Without a policy that loads, no session starts. It is read "
        "anew when it changes.",
    ).tag(config=True)

    policy_grace_s = Integer(
        600,
        min=0,
        help="Seconds for which a session goes on that started under other rules than the policy now gives its user: "
        "the user is told, then the session ends.",
    ).tag(config=True)

    unsafe_no_access_control = Bool(
        False,
        help="True starts sessions without a policy: they may read and write whatever their user may. policy_file is "
        "not read then.",
    ).tag(config=True)

    code_owners = List(
        Unicode(),
        help="Users (names or numbers) beside root who may own the code that runs on the nodes: jupyter-hpcsec, its "
        "Python and the directories above. A session does not start where its own user could change that code.",
    ).tag(config=True)

    unsafe_user_owned_code = Bool(
        False,
        help="True starts sessions although their user could change the code that closes them in: for a demonstration "
        "or development in one's own files.",
    ).tag(config=True)

    @validate("policy_file")
    def _check_policy_file(self, proposal: dict[str, Any]) -> str:
        path: str = proposal["value"]
        if not path.startswith("/"):
            raise TraitError(
                f"policy_file {path!r} must be an absolute path. To run without access control, say so: "
                "c.HpcsecGateway.unsafe_no_access_control = True"
            )
        return path

    audit_directory = Unicode(
        "", help="The audit record: 0700, owned by the gateway's user. Default: audit in the state directory."
    ).tag(config=True)

    audit_checkpoints = Unicode(
        "",
        help="The audit record's second place: a file to which every checkpoint is appended, so that a record that was "
        "rolled back is found out. Put it where whoever could change the record can't: another file system, another "
        "host, with chattr +a. Default: audit-checkpoints in the state directory.",
    ).tag(config=True)

    audit_witness = Unicode(
        "",
        help="The public key of the audit record's witness, if there is one (hpcsec audit witness, on another host).",
    ).tag(config=True)

    audit_cosigned = Unicode(
        "",
        help="The file with what that witness cosigned last, as it gets here. The gateway does not start on a record "
        "that is older than what is in it.",
    ).tag(config=True)

    audit_retention_days = Integer(
        0,
        min=0,
        help="Days after which events are removed from the audit record, in whole bundles of 256; their hashes stay. "
        "0 keeps everything: how long logs of people's work must and may be kept is for the site's law to say.",
    ).tag(config=True)

    audit_values_days = Integer(
        0,
        min=0,
        help="Days after which sealed values (what was typed and shown) are removed, where that is earlier. 0: with "
        "their events.",
    ).tag(config=True)

    metrics_listen = Unicode(
        "",
        help="Address of this host's loopback, such as 127.0.0.1:9464, on which Prometheus finds the metrics. They "
        "hold counts and no names; all users of this host can read them there. Empty: on the admin socket only.",
    ).tag(config=True)

    metrics_sessions = Bool(
        False,
        help="True adds what each kernel holds on each GPU to the metrics, by parts of the ids of session and kernel "
        "and by device, for as many as 2,000. No names; but who can read the metrics sees what single sessions do.",
    ).tag(config=True)

    forward_directory = Unicode(
        "", help="HpcsecForward.state_directory, for the sinks' lag. Default: forward in the state directory."
    ).tag(config=True)

    @validate("metrics_listen")
    def _check_metrics_listen(self, proposal: dict[str, Any]) -> str:
        listen: str = proposal["value"]
        host, _, port = listen.rpartition(":")
        try:
            address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
            is_fit = address.is_loopback and 0 <= int(port) < 65536
        except ValueError:
            is_fit = False
        if listen and not is_fit:
            raise TraitError(
                f"metrics_listen {listen!r} must be an address of the loopback with a port, such as 127.0.0.1:9464: "
                "what is served there asks nobody who they are. For another host, put your own server before it."
            )
        return listen

    @validate("attestors")
    def _check_attestors(self, proposal: dict[str, Any]) -> list[str]:
        names: list[str] = proposal["value"]
        unknown = [name for name in names if name not in ATTESTORS]
        if unknown or not names:
            raise TraitError(f"attestors must be some of {', '.join(ATTESTORS)}, not {unknown or 'an empty list'}")
        if "none" in names and len(names) > 1:
            raise TraitError("attestor 'none' stands alone: it would hide that the others are not enough")
        return names

    @validate("hub_base_url")
    def _check_hub_base_url(self, proposal: dict[str, Any]) -> str:
        url: str = proposal["value"]
        if not _BASE_URL.fullmatch(url):
            raise TraitError(f"hub_base_url {url!r} must be JupyterHub's base_url: a plain path such as / or /jupyter/")
        return url

    @validate("run_directory")
    def _check_run_directory(self, proposal: dict[str, Any]) -> str:
        path: str = proposal["value"]
        if path != path.lower() or not path.startswith("/") or len(os.fsencode(path)) > 60:
            raise TraitError(
                f"run_directory {path!r} must be absolute, lower case (JupyterHub lowers socket paths), <= 60 bytes"
            )
        return path

    def settings(self) -> GatewaySettings:
        """The settings as values; ``TraitError`` names what contradicts what."""
        if "none" in self.attestors and not self.unsafe_no_attestation:
            raise TraitError(
                "attestors = ['none'] lets any process that holds a token enrol. Use ['scheduler', 'munge'], or set "
                "c.HpcsecGateway.unsafe_no_attestation = True for a demonstration on one computer."
            )
        if not self.public_endpoints:
            raise TraitError(
                "set c.HpcsecGateway.public_endpoints to what compute nodes dial, such as ['hub.example:8443']"
            )
        if self.dead_after_s < 2 * self.heartbeat_s:
            raise TraitError(
                f"dead_after_s = {self.dead_after_s} is less than two heartbeats of {self.heartbeat_s} s: agents that "
                "are well would count as gone. Raise dead_after_s or lower heartbeat_s."
            )
        if self.idle_lanes > self.lanes_per_session:
            raise TraitError(f"idle_lanes = {self.idle_lanes} is above lanes_per_session = {self.lanes_per_session}")
        if 0 < self.audit_retention_days < self.audit_values_days:
            raise TraitError(
                f"audit_values_days = {self.audit_values_days} is above audit_retention_days = "
                f"{self.audit_retention_days}: values go with their events"
            )
        if bool(self.audit_witness) != bool(self.audit_cosigned):
            raise TraitError("audit_witness (a public key) and audit_cosigned (a file) are set together, or neither is")
        limits = {name: getattr(self, name) for name in Limits.__dataclass_fields__ if self.has_trait(name)}
        return GatewaySettings(
            listen=tuple(self.listen),
            public_endpoints=tuple(self.public_endpoints),
            state_directory=Path(self.state_directory),
            run_directory=Path(self.run_directory),
            admin_socket=Path(self.admin_socket),
            socket_gid=_gid(self.socket_group) if self.socket_group else None,
            allowed_uids=frozenset({0, os.geteuid(), *map(peer_uid, self.allowed_peers)}),
            proxy_uids=frozenset(map(peer_uid, self.proxy_users)),
            hub_api_url=self.hub_api_url,
            hub_base_url=self.hub_base_url,
            trust_domain=self.trust_domain,
            issuer=f"hpcsec-gateway@{self.trust_domain}",
            attestors=tuple(self.attestors),
            compares_node_address=not self.unsafe_any_node_address,
            node_helpers=self.node_helpers,
            token_lifetime_s=self.token_lifetime_s,
            certificate_lifetime_s=self.certificate_lifetime_s,
            limits=Limits(**limits),
            policy_file=None if self.unsafe_no_access_control else Path(self.policy_file),
            policy_grace_s=self.policy_grace_s,
            code_owners=tuple(sorted(map(peer_uid, self.code_owners))),
            unsafe_user_owned_code=self.unsafe_user_owned_code,
            audit_directory=Path(self.audit_directory) if self.audit_directory else None,
            audit_checkpoints=Path(self.audit_checkpoints) if self.audit_checkpoints else None,
            audit_retention_days=self.audit_retention_days,
            audit_witness=self.audit_witness,
            audit_cosigned=Path(self.audit_cosigned) if self.audit_cosigned else None,
            audit_values_days=self.audit_values_days,
            metrics_listen=self.metrics_listen,
            metrics_sessions=self.metrics_sessions,
            forward_directory=Path(self.forward_directory) if self.forward_directory else None,
            recording=self.recording_settings(),
            projects=self.project_settings(),
            trusted_proxies=tuple(self.trusted_proxies),
            is_forwarded=self.proxy_adds_forwarded_for,
        )


def _gid(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError as exc:
        raise TraitError(f"socket_group names the group {name!r}, which does not exist on this host") from exc


def peer_uid(name: str, setting: str = "allowed_peers or proxy_users") -> int:
    """The uid that a setting names, by number or name; ``TraitError``."""
    if name.isascii() and name.isdigit():
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError as exc:
        raise TraitError(f"{setting} names the user {name!r}, who does not exist on this host") from exc
