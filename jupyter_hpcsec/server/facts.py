"""What the agent wrote down about the session (``hub.job.write_facts``), read for the user's eyes."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from jupyter_hpcsec.errors import Malformed, Unavailable

SESSION_VARIABLE = "JUPYTER_HPCSEC_SESSION"
"""Names the file; not set in a server that no session started."""
SIZE_LIMIT = 64 * 1024

Fact = str | int | bool | None


@dataclass(frozen=True)
class SessionFacts:
    """One session. ``ends_at`` is in Unix seconds; ``protections`` is the sandbox's receipt.

    ``endpoints`` and ``ca_pin`` (SHA-256 of the gateway's authority) are for ``hpcsec doctor`` on the node.
    """

    user: str
    server: str
    session: str
    job: str
    node: str
    ends_at: int
    endpoints: list[str]
    ca_pin: str
    protections: Mapping[str, Fact]
    recording: Mapping[str, str] = field(default_factory=dict)
    """What the gateway records of this session: ``text`` in sentences for the user, and their values."""

    def for_browser(self) -> dict[str, Any]:
        """For JSON: what its user is shown. How the node reaches the gateway is not among it."""
        return {name: value for name, value in asdict(self).items() if name not in {"endpoints", "ca_pin"}}


def read_facts(environment: Mapping[str, str]) -> SessionFacts | None:
    """The facts of this session, None outside of one. ``Unavailable`` or ``Malformed`` when they can't be read."""
    path = environment.get(SESSION_VARIABLE)
    if not path:
        return None
    try:
        with Path(path).open("rb") as file:
            content = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise Unavailable(f"The session's facts can't be read from {path}: {error.strerror}.") from error
    return parse_facts(content)


def parse_facts(content: bytes) -> SessionFacts:
    """Read one JSON object with exactly the fields of ``SessionFacts``."""
    if len(content) > SIZE_LIMIT:
        raise Malformed(f"The session's facts have more than {SIZE_LIMIT} bytes.")
    try:
        facts = SessionFacts(**json.loads(content))
    except (ValueError, TypeError, RecursionError) as error:
        raise Malformed("The session's facts are not in the form that this version of hpcsec writes.") from error
    if not isinstance(facts.endpoints, list):
        raise Malformed("The session's endpoints are not a list.")
    words = (facts.user, facts.server, facts.session, facts.job, facts.node, facts.ca_pin, *facts.endpoints)
    if not all(isinstance(word, str) for word in words) or type(facts.ends_at) is not int:
        raise Malformed("The session's facts hold a value of the wrong type.")
    if not isinstance(facts.protections, dict) or not all(
        isinstance(value, str | int | None) for value in facts.protections.values()
    ):
        raise Malformed("The session's protections are not a flat table.")
    if not isinstance(facts.recording, dict) or not all(isinstance(value, str) for value in facts.recording.values()):
        raise Malformed("The session's recording is not a table of words.")
    return facts
