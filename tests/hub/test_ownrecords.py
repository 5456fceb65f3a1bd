"""A user is led to their own records only where the hub has them, on the same host, and lets this user in."""

import pytest
from jupyterhub import orm
from jupyterhub.user import User

from jupyter_hpcsec.hub import consoleroles
from jupyter_hpcsec.hub.ownrecords import own_records


@pytest.mark.parametrize("scope", [consoleroles.ACCESS, "access:services"])
def test_no_console_no_access_and_another_host_are_no_link(scope: str) -> None:
    db = orm.new_session_factory(url="sqlite:///:memory:")()
    alice = orm.User(name="alice")
    db.add(alice)
    assert own_records(User(alice, {})) == ""
    console = orm.Service(name=consoleroles.NAME)
    db.add(console)
    assert own_records(User(alice, {})) == ""
    console.server = orm.Server(base_url="/hub/is/here/services/hpcsec/")
    assert own_records(User(alice, {})) == ""
    alice.roles.append(orm.Role(name="user", scopes=[scope]))
    assert own_records(User(alice, {})) == "/hub/is/here/services/hpcsec/me"
    assert own_records(User(alice, {"subdomain_host": "https://hub.example"})) == ""
