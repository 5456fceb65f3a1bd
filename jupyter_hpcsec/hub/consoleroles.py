"""What JupyterHub is told of the security console: its custom scopes, the roles that hold them, the service. Values.

A configuration file names them, so that an admin sees what is granted (``hub_config/jupyterhub_config.py``).
"""

from collections.abc import Sequence
from typing import Any

NAME = "hpcsec"
READ = "custom:hpcsec:audit:read"
END = "custom:hpcsec:session:end"
ALERT = "custom:hpcsec:alert:acknowledge"
PROJECT = "custom:hpcsec:project:manage"
ACCESS = f"access:services!service={NAME}"
"""Lets somebody in at all: everybody, to their own records."""

CUSTOM_SCOPES: dict[str, dict[str, Any]] = {
    READ: {"description": "Read the audit record and see all sessions, in the security console."},
    END: {"description": "End anybody's session, in the security console."},
    ALERT: {"description": "Acknowledge alerts, in the security console."},
    PROJECT: {"description": "Propose, approve and renew projects, in the security console."},
}
"""For ``JupyterHub.custom_scopes``."""


def roles(security_staff: Sequence[str] = (), project_office: Sequence[str] = ()) -> list[dict[str, Any]]:
    """For ``JupyterHub.load_roles``: who is named here, by login names, and everybody's way to their own records."""
    return [
        {"name": "user", "scopes": ["self", ACCESS]},
        {
            "name": "security-staff",
            "description": "Reads the record, ends sessions, acknowledges alerts",
            "scopes": [READ, END, ALERT, ACCESS],
            "users": list(security_staff),
        },
        {
            "name": "project-office",
            "description": "Approves and renews projects",
            "scopes": [PROJECT, ACCESS],
            "users": list(project_office),
        },
    ]


def service(url: str, **more: Any) -> dict[str, Any]:
    """For ``JupyterHub.services``: the console at ``url``; ``more`` is its ``api_token``, or its ``command``."""
    return {
        "name": NAME,
        "url": url,
        "oauth_client_allowed_scopes": list(CUSTOM_SCOPES),
        "oauth_no_confirm": True,  # it is the site's own, and asks for nothing but who somebody is
        **more,
    }
