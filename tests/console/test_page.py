"""What every page has: nobody without a login or the scope, nothing by another site, all of it on record."""

from jupyter_hpcsec.console.page import READ
from tests.console.conftest import PREFIX, Place


async def test_the_login_goes_by_the_hub_and_comes_back(place: Place) -> None:
    ada = place.visitor("ada", READ)
    answer = await ada.get("live")
    assert answer.status_code == 200 and "Live" in answer.text and "ada" in answer.text
    [entered] = await place.events("console.entered")
    assert entered["subject"]["user"] == "ada" and entered["scopes"] == READ
    [read] = await place.events("audit.read")
    assert (read["subject"]["user"], read["action"]) == ("ada", "live")


async def test_nobody_is_sent_to_the_login(place: Place) -> None:
    answer = await place.get("live")
    assert answer.status_code == 302 and answer.headers["Location"].startswith("/hub/api/oauth2/authorize?")
    [refused] = await place.events("console.refused")
    assert refused["rule"] == "console.no-login" and refused["object"]["name"] == f"{PREFIX}live"


async def test_a_smaller_scope_is_not_enough(place: Place) -> None:
    bob = place.visitor("bob")
    answer = await bob.get("live")
    assert answer.status_code == 403 and "sessions run now" not in answer.text
    [refused] = await place.events("console.refused", lambda event: event["rule"] == "console.scope")
    assert refused["subject"]["user"] == "bob"
