"""Keeps the hub's database right where JupyterHub alone would not: state saved during a start, tokens after a restart.

A restarted JupyterHub no longer knows the API token of a running server and leaves it valid when that server stops
(6.1.1, ``User.stop`` looks it up by ``spawner.api_token``, which is empty then). The salted hash that the database
holds anyway names the token without being one; it is what is remembered. Nothing else of the database is touched.
"""

from typing import Any

from jupyterhub import orm
from sqlalchemy import inspect


def save_state(orm_spawner: Any, state: dict[str, Any]) -> None:
    """Write a spawner's state now: JupyterHub writes it only after the start, and a hub may die before."""
    orm_spawner.state = state
    inspect(orm_spawner).session.commit()


def token_hash(orm_spawner: Any, token: str) -> str:
    """What the database calls a server's API token; empty when there is none."""
    found = orm.APIToken.find(inspect(orm_spawner).session, token) if token else None
    return str(found.hashed) if found else ""


def revoke_token(orm_spawner: Any, hashed: str) -> None:
    """Delete that token, if it is one of the spawner's own user; nothing happens when it is gone already."""
    session = inspect(orm_spawner).session
    found = session.query(orm.APIToken).filter_by(hashed=hashed).first()
    if found is not None and found.user is orm_spawner.user:
        session.delete(found)
        session.commit()
