"""What the agent needs of the job's key, as an interface: ``hub.credentials`` has it, and tests bring their own."""

from typing import Protocol


class Credentials(Protocol):
    """The job's key and certificate, which never touch a disk."""

    def request(self) -> bytes:
        """The DER of a certificate request for a fresh key, which becomes current with ``install``."""

    def install(self, certificate: bytes) -> None:
        """Make the key of the last request current, with its certificate (DER)."""

    def certificate_pem(self) -> bytes:
        """The current certificate."""

    def key_pem(self) -> bytes:
        """The current key."""
