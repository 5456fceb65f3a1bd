"""The gateway's settings of what is recorded of sessions' work, as traitlets, and as the value that they become."""

import ipaddress
from dataclasses import dataclass
from typing import Any

from traitlets import Bool, Dict, Enum, HasTraits, Integer, List, TraitError, Unicode, validate

RECORDING_LEVELS = ("metadata", "sources", "sources+outputs")


@dataclass(frozen=True)
class RecordingSettings:
    """What of sessions' work is recorded. ``by_group`` pairs a group's name with its level.

    ``patterns`` of what is taken out of recorded texts come on top of the known ones, unless ``knows_secrets`` is off.
    """

    level: str = "sources"
    by_group: tuple[tuple[str, str], ...] = ()
    output_limit: int = 65_536
    hashes_files: bool = False
    patterns: tuple[str, ...] = ()
    knows_secrets: bool = True


class RecordingTraits(HasTraits):
    """Part of ``config.HpcsecGateway``."""

    recording = Enum(
        RECORDING_LEVELS,
        "sources",
        help="What of the sessions is recorded. 'metadata': requests, files and their sizes, the use of kernels and "
        "terminals. 'sources': also the code that is run and what is typed. 'sources+outputs': also what cells answer "
        "and terminals show. Users are told which it is.",
    ).tag(config=True)

    recording_by_group = Dict(
        key_trait=Unicode(),
        value_trait=Enum(RECORDING_LEVELS),
        help="Another level for members of a group of JupyterHub's; the fullest, for members of several.",
    ).tag(config=True)

    recording_output_limit = Integer(
        65_536,
        min=1024,
        max=1_000_000,
        help="Bytes of one cell's outputs that are recorded, and of what a terminal shows for a line.",
    ).tag(config=True)

    recording_hashes_files = Bool(
        False, help="True records the SHA-256 of files that are read, saved and downloaded; it costs time by the byte."
    ).tag(config=True)

    redaction_patterns = List(
        Unicode(),
        help="Regular expressions of what is taken out of recorded texts, besides known forms of secrets.",
    ).tag(config=True)

    unsafe_record_secrets = Bool(
        False, help="True records also what looks like a key, a token or a password; redaction_patterns still apply."
    ).tag(config=True)

    trusted_proxies = List(
        Unicode(),
        help="Addresses or networks of your own proxies in front of JupyterHub's (a load balancer, nginx): a request's "
        "source is the last address in X-Forwarded-For that is none of them.",
    ).tag(config=True)

    proxy_adds_forwarded_for = Bool(
        True,
        help="Whether JupyterHub's proxy writes its peer's address into X-Forwarded-For, as CHP and "
        "Traefik do. False records no source addresses; set it for a proxy that passes on what browsers write there.",
    ).tag(config=True)

    @validate("trusted_proxies")
    def _check_trusted_proxies(self, proposal: dict[str, Any]) -> list[str]:
        networks: list[str] = proposal["value"]
        for network in networks:
            try:
                ipaddress.ip_network(network)
            except ValueError as exc:
                raise TraitError(f"trusted_proxies: {exc}; write an address, or a network such as 10.0.0.0/8") from exc
        return networks

    def recording_settings(self) -> RecordingSettings:
        """The settings as a value."""
        return RecordingSettings(
            level=self.recording,
            by_group=tuple(sorted(self.recording_by_group.items())),
            output_limit=self.recording_output_limit,
            hashes_files=self.recording_hashes_files,
            patterns=tuple(self.redaction_patterns),
            knows_secrets=not self.unsafe_record_secrets,
        )
