"""What a job finds in its environment: its token and gateway, and who and where it is. Taken out, checked, kept apart.

Nothing here connects to anything. The variables of ours are deleted as they are read, so that no child gets them.
"""

import base64
import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field

from jupyter_hpcsec.errors import Malformed

OURS = "HPCSEC_"
TOKEN_LIMIT, GATEWAY_LIMIT, CA_LIMIT = 4096, 2048, 8192
"""Characters of each variable, at most."""
ENDPOINTS_LIMIT = 8

LOCAL_JOB_ID = "HPCSEC_LOCAL_JOB_ID"
JOB_IDS = (LOCAL_JOB_ID, "SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID")
"""Where batch systems write a job's id. Ours first: a local job may have been submitted inside another job."""

_TOKEN = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){2}")
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = rf"({_LABEL}(\.{_LABEL})*\.?|\[[0-9A-Fa-f:.]{{2,45}}(%[A-Za-z0-9._-]{{1,15}})?\])"
_ENDPOINT = re.compile(rf"{_HOST}:[1-9][0-9]{{0,4}}")
_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\[\]-]{0,127}")
_NODE = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_TIME = re.compile(r"[1-9][0-9]{0,11}")


@dataclass(frozen=True)
class JobEnvironment:
    """A job's own facts. ``ca`` is DER; ``ends_at`` (Unix seconds) is the batch system's word, where it gives one."""

    token: str = field(repr=False)
    endpoints: tuple[str, ...]
    ca: bytes = field(repr=False)
    job_id: str
    node: str
    ends_at: int | None


def take(environment: MutableMapping[str, str], *, hostname: str) -> JobEnvironment:
    """Read and delete our variables; the rest stays as it is. ``Malformed`` says which one is missing or wrong.

    Deleted also when something is wrong, and also those of ours that have no meaning here.
    """
    ours = {name: environment.pop(name) for name in list(environment) if name.startswith(OURS)}
    found = {**environment, **ours}
    token = _variable(found, "HPCSEC_TOKEN", TOKEN_LIMIT)
    if not _TOKEN.fullmatch(token):
        raise Malformed("HPCSEC_TOKEN does not have the form of a job token.")
    return JobEnvironment(
        token=token,
        endpoints=parse_endpoints(_variable(found, "HPCSEC_GATEWAY", GATEWAY_LIMIT)),
        ca=parse_ca(_variable(found, "HPCSEC_CA", CA_LIMIT)),
        job_id=job_id(found),
        node=node(found, hostname),
        ends_at=ends_at(found),
    )


def _variable(environment: Mapping[str, str], name: str, limit: int) -> str:
    value = environment.get(name, "")
    if not value:
        raise Malformed(
            f"{name} is not set. This program is run by a batch job that JupyterHub submitted, not by hand."
        )
    if len(value) > limit or not value.isascii():
        raise Malformed(f"{name} is not ASCII of at most {limit} characters.")
    return value


def parse_endpoints(text: str) -> tuple[str, ...]:
    """``host:port,host:port``, an IPv6 address in brackets, ports without leading zeros."""
    endpoints = tuple(text.split(","))
    if len(endpoints) > ENDPOINTS_LIMIT:
        raise Malformed(f"HPCSEC_GATEWAY names more than {ENDPOINTS_LIMIT} gateways.")
    for endpoint in endpoints:
        if not _ENDPOINT.fullmatch(endpoint) or int(endpoint.rpartition(":")[2]) > 65535:
            raise Malformed("HPCSEC_GATEWAY is not a list of host:port, separated by commas.")
    return endpoints


def parse_ca(text: str) -> bytes:
    """Canonical base64 (RFC 4648, section 4) of the authority's DER: one spelling for each value."""
    try:
        ca = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise Malformed("HPCSEC_CA is not base64.") from error
    if base64.b64encode(ca).decode("ascii") != text:
        raise Malformed("HPCSEC_CA is not in canonical base64.")
    return ca


def job_id(environment: Mapping[str, str]) -> str:
    """The id that the batch system gave to the job in which we run."""
    name = next((name for name in JOB_IDS if environment.get(name)), "")
    if not name:
        raise Malformed(f"None of {', '.join(JOB_IDS)} is set: this is not a batch job of a kind that is known.")
    if not _JOB_ID.fullmatch(environment[name]):
        raise Malformed(f"{name} does not have the form of a job id.")
    return environment[name]


def node(environment: Mapping[str, str], hostname: str) -> str:
    """The node as the batch system calls it: Slurm says so, the others use the host name up to its first dot."""
    name = environment.get("SLURMD_NODENAME") or hostname
    if len(name) > 255 or not _NODE.fullmatch(name):
        raise Malformed("This computer's name is not a host name; check SLURMD_NODENAME and `hostname`.")
    return name


def ends_at(environment: Mapping[str, str]) -> int | None:
    """The end of the job's time limit, if Slurm (22.05 and later) says it. Shown to the user; nothing relies on it."""
    value = environment.get("SLURM_JOB_END_TIME", "")
    return int(value) if _TIME.fullmatch(value) else None
