"""Access control from the policy to the kernel: what can't be enforced gives no session and one clear sentence, in the
browser and in the log; what can be is enforced in a kernel, shown to its user, and taken back when the policy changes.
"""

import asyncio
import json
import re
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_hpcsec.errors import Refused
from tests.e2e.person import Person
from tests.e2e.site import GRACE_S, Site, wait_until
from tests.hub.rules import HOMES, NOBODY, write_policy

pytestmark = [pytest.mark.e2e, pytest.mark.slurm, pytest.mark.timeout(300)]


@pytest.fixture
def data() -> Iterator[Path]:
    """A directory that every account may read, the same on each node, with a secret in it."""
    directory = Path("/srv") / f"hpcsec-test-{secrets.token_hex(4)}"
    (directory / "secret").mkdir(parents=True)
    (directory / "open.txt").write_text("open")
    (directory / "secret" / "plan.txt").write_text("secret")
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(autouse=True)
def nothing_else(site: Site) -> Iterator[None]:
    yield
    if site.policy.is_dir():
        site.policy.rmdir()
    write_policy(site.policy)
    site.clear()


async def sentence(person: Person) -> str:
    """What the spawn page says of a start that fails."""
    await person.ask_for_server()
    progress: AsyncIterator[str] = person.progress()
    with pytest.raises(Refused) as refused:
        async for _ in progress:
            pass
    return refused.value.reason


async def starts(site: Site, person: Person) -> None:
    """The same person, once the policy is as it should be."""
    write_policy(site.policy)
    assert "Server ready" in (await person.start())[-1]


# --- no session


def unreadable(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "logged"),
    [
        (Path.unlink, "No such file"),
        (unreadable, "can't be read"),
        (lambda path: path.write_text(""), "is empty"),
        (lambda path: path.write_text("version: 1\nrules: []\n"), "rules"),
        (lambda path: path.chmod(0o666), "chmod go-w"),
    ],
    ids=["missing", "unreadable", "empty", "without rules", "open to others"],
)
async def test_a_policy_that_can_not_be_used(site: Site, alice: Person, spoil: Any, logged: str) -> None:
    spoil(site.policy)
    said = await sentence(alice)
    assert "the access policy on the hub's host can't be used" in said and str(site.policy) not in said
    log = site.log("gateway")
    assert re.search(f"policy {site.policy} can't be used, so no session starts: .*{logged}", log)
    assert await site.gateway.sessions() == [] and not site.slurm("squeue", "--noheader"), "no job was submitted"
    if site.policy.is_dir():
        site.policy.rmdir()
    await starts(site, alice)


async def test_a_user_without_a_rule(site: Site, alice: Person) -> None:
    write_policy(site.policy, NOBODY, defaults="contact: data@example.org")
    said = await sentence(alice)
    assert "No rule of the access policy allows alice anything here. Ask data@example.org." in said
    assert not site.slurm("squeue", "--noheader"), "no job was submitted"
    await starts(site, alice)


async def test_a_kernel_that_is_too_old(site: Site, alice: Person) -> None:
    write_policy(site.policy, defaults="minimum_abi: 60")
    said = await sentence(alice)
    assert "the policy requires ABI 60: no session starts on this node" in said
    assert "the policy requires ABI 60" in site.log("gateway")
    assert await site.gateway.sessions() == []
    await starts(site, alice)


async def test_a_required_path_that_is_missing(site: Site, alice: Person) -> None:
    rule = '- {who: "user:alice", allow: {read: [/data/not-here]}, required: [/data/not-here]}\n'
    write_policy(site.policy, HOMES + rule)
    said = await sentence(alice)
    assert "requires /data/not-here, which is missing on this node" in said and "rule 2" in said
    assert "requires /data/not-here" in site.log("gateway")
    await starts(site, alice)


# --- a session


TRY = """
def attempt(what, path):
    try:
        print(what(path))
    except OSError as error:
        print(type(error).__name__)
import os
"""


def rules_about(data: Path) -> str:
    return HOMES + f'- {{who: "user:alice", allow: {{read: [{data}]}}, deny: [{data}/secret]}}\n'


async def told(person: Person) -> dict[str, Any]:
    return dict((await person.browser.fetch("GET", f"{person.base()}hpcsec/api/access")).json())


async def test_what_is_denied_is_refused_and_what_is_allowed_is_had(
    site: Site, alice: Person, bob: Person, data: Path
) -> None:
    secret, open_file = data / "secret" / "plan.txt", data / "open.txt"
    assert secret.read_text() == "secret", "by the file's own mode everybody may"
    write_policy(site.policy, rules_about(data), defaults="contact: data@example.org")
    await alice.start()
    kernel = await alice.kernel()
    await kernel.run(TRY)
    read = "attempt(lambda p: open(p).read(), {!r})"
    assert await kernel.run(read.format(str(secret))) == "PermissionError"
    assert await kernel.run(f"attempt(os.listdir, {str(data / 'secret')!r})") == "PermissionError"
    assert await kernel.run("attempt(os.listdir, '/home/bob')") in {"FileNotFoundError", "PermissionError"}
    assert await kernel.run(f"attempt(lambda p: open(p, 'w'), {str(data / 'new')!r})") in {"OSError", "PermissionError"}
    assert await kernel.run(read.format(str(open_file))) == "open"
    assert await kernel.run("attempt(lambda p: open(p, 'w').write('mine'), os.path.expanduser('~/mine'))") == "4"
    kernel.close()

    facts = await told(alice)
    assert f"You may not see {data}/secret (rule 2" in " ".join(facts["words"])
    assert "Ask data@example.org for access." in facts["words"] and facts["stale"] is None
    assert facts["receipt"]["enforcement"] == "required"
    session = (await alice.session())["id"]
    found = re.findall(rf"session {session} reports \(trust: node\): (\{{.*\}})", site.log("gateway"))
    receipt = json.loads(found[-1])
    assert receipt["policy"] == facts["rules"]["policy"] == (await site.gateway.status())["policy"]["digest"]
    assert receipt["plan"] == facts["receipt"]["plan"] and re.fullmatch("[0-9a-f]{64}", receipt["plan"])
    assert any("a read allowed" in str(value) for name, value in receipt.items() if name.startswith("canary.files"))
    (Path("/home/alice") / "mine").unlink()
    with pytest.raises(Refused):  # another user's cookie opens nothing of it
        await bob.browser.fetch("GET", f"{alice.base()}hpcsec/api/access")


async def test_a_changed_policy_is_told_taken_back_and_at_last_ends_the_session(
    site: Site, alice: Person, bob: Person, data: Path
) -> None:
    write_policy(site.policy, rules_about(data))
    await alice.start()
    await bob.start()
    session = (await alice.session())["id"]

    async def stale() -> dict[str, Any] | None:
        found: dict[str, Any] | None = (await told(alice))["stale"]
        return found

    async def becomes(is_stale: bool) -> None:
        for _ in range(200):
            if (await stale() is not None) is is_stale:
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"stale is not {is_stale}")

    write_policy(site.policy)
    await becomes(True)
    mark = await stale()
    assert mark and mark["ends_at"] - mark["since"] == GRACE_S and "policy has changed" in mark["reason"]
    write_policy(site.policy, rules_about(data))
    await becomes(False)
    write_policy(site.policy)
    await becomes(True)
    assert (await told(bob))["stale"] is None
    wait_until(lambda: not site.servers("alice"), "alice's server is ended")
    ended = await site.gateway.show(session)
    assert ended["state"] == "ended" and "the access policy has changed for you" in ended["reason"]
    assert site.servers("bob") and (await told(bob))["stale"] is None
    await alice.start()
    kernel = await alice.kernel()
    await kernel.run(TRY)
    assert await kernel.run(f"attempt(os.listdir, {str(data)!r})") in {"FileNotFoundError", "PermissionError"}
    kernel.close()
