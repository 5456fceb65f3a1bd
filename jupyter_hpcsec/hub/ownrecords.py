"""Where a session's user reads what is recorded about them: the console's page, where the hub has it. For a link."""

from jupyterhub import orm
from jupyterhub.scopes import get_scopes_for
from jupyterhub.user import User
from sqlalchemy.orm import object_session

from jupyter_hpcsec.hub import consoleroles

VARIABLE = "JUPYTER_HPCSEC_RECORDS"
"""The path, for the server extension (``server.live``)."""
PAGE = "me"


def own_records(user: User) -> str:
    """Its path on the hub's host; empty where there is none (with ``subdomain_host`` it has a host of its own)."""
    if user.settings.get("subdomain_host"):
        return ""
    service = orm.Service.find(object_session(user.orm_user), consoleroles.NAME)
    if service is None or service.server is None:
        return ""
    if not {consoleroles.ACCESS, "access:services"} & set(get_scopes_for(user)):
        return ""
    return f"{service.server.base_url}{PAGE}"
