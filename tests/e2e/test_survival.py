"""What is killed, cut off or restarted comes back to the same kernel; what is ended is gone, at once and for good."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from jupyter_hpcsec.errors import HpcsecError, Refused, Unavailable
from jupyter_hpcsec.hub.processes import PROC, descendants, processes
from jupyter_hpcsec.ops.listeners import effective_uid
from jupyter_hpcsec.ops.session_ports import agents
from tests.e2e.person import Kernel, Person, person
from tests.e2e.site import HOLD, Site, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slurm, pytest.mark.timeout(300)]

BACK_WITHIN_S = 15.0
CUT_OFF_S = 60.0


async def eventually(true: Callable[[], Awaitable[bool]], what: str, within_s: float) -> None:
    """Ask until the answer is yes; an ``HpcsecError`` is a no."""
    try:
        async with asyncio.timeout(within_s):
            while True:
                try:
                    if await true():
                        return
                except HpcsecError:
                    pass
                await asyncio.sleep(0.1)
    except TimeoutError:
        pytest.fail(f"waited {within_s:g} s in vain: {what}")


async def is_closed(kernel: Kernel, within_s: float = 30) -> None:
    """Return when the kernel's websocket is closed from the other side; messages before that do not matter."""
    async with asyncio.timeout(within_s):
        while await kernel.socket.read_message() is not None:
            pass


async def remembers(kernel: Kernel) -> bool:
    """Open the kernel's websocket anew and ask for the variable."""
    kernel.close()
    await kernel.connect()
    return await kernel.run("print(x)") == "41"


def processes_of(uid: int) -> list[int]:
    """All living processes of a user's on this machine, its nodes included."""
    found = []
    for pid, process in processes().items():
        try:
            if not process.is_zombie and effective_uid(pid) == uid:
                found.append(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def command_line(pid: int) -> bytes:
    """A process's words; none of one that has ended meanwhile."""
    try:
        return (PROC / str(pid) / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def agents_of(uid: int) -> list[int]:
    """Other agents may run on this machine: a quickstart's, say."""
    return sorted(set(agents()) & set(processes_of(uid)))


@pytest.fixture(autouse=True, scope="module")
def nothing_else(site: Site) -> Iterator[None]:
    yield
    site.clear()


@pytest.fixture
async def working(site: Site, alice: Person) -> AsyncIterator[tuple[Person, Kernel]]:
    """Alice's server and a kernel of hers that knows something. The server stays for the next test."""
    if not site.servers("alice").get("", {}).get("ready"):
        await alice.start()
    await alice.open()
    kernel = await alice.kernel()
    await kernel.run("x = 41")
    yield alice, kernel
    kernel.close()


@pytest.mark.parametrize("part", ["gateway", "hub", "proxy"])
async def test_a_killed_part_that_returns_finds_the_kernel_as_it_was(
    site: Site, working: tuple[Person, Kernel], part: str
) -> None:
    alice, kernel = working
    session = await alice.session()
    site.kill(part)
    if part == "hub":  # nobody who works notices
        assert await kernel.run("print(x)") == "41"
        with pytest.raises(HpcsecError):
            await alice.browser.page("/hub/home")
    else:
        await is_closed(kernel)
        with pytest.raises(HpcsecError):
            await alice.browser.fetch("GET", f"{alice.base()}api/kernels")
    site.parts[part].start()
    site.wait_up(part)
    await eventually(lambda: remembers(kernel), "the kernel answers in the browser again", BACK_WITHIN_S)
    await alice.browser.page("/hub/home")
    after = await alice.session()
    assert [after[name] for name in ("id", "job_id", "serial")] == [session[n] for n in ("id", "job_id", "serial")]
    assert site.job_state(session["job_id"]) == "RUNNING"
    assert site.servers("alice")[""]["ready"]


async def test_a_new_server_starts_after_every_part_was_killed_at_once(
    site: Site, working: tuple[Person, Kernel]
) -> None:
    _, kernel = working
    for name in site.parts:
        site.kill(name)
    for part in site.parts.values():
        part.start()
    for name in site.parts:
        site.wait_up(name)
    await eventually(lambda: remembers(kernel), "the kernel answers in the browser again", BACK_WITHIN_S)
    async with person(site, "bob") as bob:
        assert "Server ready" in (await bob.start())[-1]
        await bob.stop()


async def test_named_servers_survive_a_hub_restart(site: Site, working: tuple[Person, Kernel]) -> None:
    alice, kernel = working
    with pytest.raises(HpcsecError):
        await alice.open("lab2")
    await alice.start("lab2")
    second = await alice.kernel("lab2")
    await second.run("x = 41")
    jobs = {(await alice.session())["job_id"], (await alice.session("lab2"))["job_id"]}
    assert len(jobs) == 2
    site.restart("hub")
    await eventually(lambda: remembers(kernel), "the default server's kernel answers", BACK_WITHIN_S)
    await eventually(lambda: remembers(second), "the named server's kernel answers", BACK_WITHIN_S)
    assert {name: server["ready"] for name, server in site.servers("alice").items()} == {"": True, "lab2": True}
    assert {(await alice.session())["job_id"], (await alice.session("lab2"))["job_id"]} == jobs
    await alice.stop("lab2")
    await is_closed(second)
    assert await kernel.run("print(x)") == "41"


async def test_a_node_that_was_cut_off_for_a_minute_comes_back_by_itself(
    site: Site, working: tuple[Person, Kernel]
) -> None:
    alice, kernel = working
    session = await alice.session()
    site.cluster.partition(session["node"])
    begin = time.monotonic()
    try:

        async def is_away() -> bool:
            return str((await alice.session())["state"]) == "away"

        await eventually(is_away, "the gateway notices", CUT_OFF_S / 2)
        with pytest.raises(Refused, match=r"http\.503"):
            await alice.browser.fetch("GET", f"{alice.base()}api/kernels")
        await asyncio.sleep(max(0.0, begin + CUT_OFF_S - time.monotonic()))  # it is the length of the cut, no assertion
    finally:
        site.cluster.heal(session["node"])
    await eventually(lambda: remembers(kernel), "the same kernel answers", 30)
    after = await alice.session()
    assert [after[name] for name in ("id", "job_id", "state")] == [session["id"], session["job_id"], "ready"]
    assert site.job_state(session["job_id"]) == "RUNNING"
    assert site.servers("alice")[""]["ready"]


async def test_a_logout_cuts_what_the_browser_holds_and_ends_no_kernel(
    site: Site, working: tuple[Person, Kernel]
) -> None:
    alice, kernel = working
    assert await kernel.run("print(x)") == "41"
    await alice.browser.page("/hub/logout")
    await is_closed(kernel)
    with pytest.raises(Unavailable):
        await remembers(kernel)
    await alice.log_in()
    await alice.open()
    await eventually(lambda: remembers(kernel), "the kernel answers after a new login", BACK_WITHIN_S)


async def test_hpcsec_session_end_cuts_websockets_and_ends_the_job(site: Site, working: tuple[Person, Kernel]) -> None:
    alice, kernel = working
    session = await alice.session()
    command = [sys.executable, "-I", "-m", "jupyter_hpcsec.cli.main", "session", "end"]
    admin = ["--reason", "an incident", "--socket", str(site.run / "admin.sock")]
    refused = subprocess.run([*command, "0" * 32, *admin], capture_output=True, check=False)  # noqa: ASYNC221
    assert await kernel.run("print(x)") == "41", refused
    ended = asyncio.create_task(is_closed(kernel))
    done = subprocess.run([*command, session["id"], *admin], capture_output=True, check=False)  # noqa: ASYNC221
    assert done.returncode == 0, done.stderr
    await ended
    wait_until(lambda: site.job_state(session["job_id"]) != "RUNNING", "the job ends")
    wait_until(lambda: not site.servers("alice"), "the hub knows")
    assert (await site.gateway.show(session["id"]))["reason"] == "an incident"


async def test_stop_cancels_the_job_revokes_the_certificate_and_cuts_the_lanes(
    site: Site, working: tuple[Person, Kernel]
) -> None:
    alice, kernel = working
    session = await alice.session()
    assert await kernel.run("print(x)") == "41"
    assert (await site.gateway.show(session["id"]))["lanes"] > 0
    socket = site.run / "s" / f"{session['id']}.sock"
    assert socket.is_socket()
    ended = asyncio.create_task(is_closed(kernel))
    await alice.stop()
    await ended
    facts = await site.gateway.show(session["id"])
    assert (facts["state"], facts["connected"]) == ("ended", False)
    assert "lanes" not in facts
    assert not socket.exists()
    with sqlite3.connect(f"file:{site.state}/gateway/sessions.sqlite?mode=ro", uri=True) as store:
        rows = store.execute("SELECT revoked_at FROM serials WHERE session = ?", (session["id"],)).fetchall()
    assert rows
    assert all(revoked for (revoked,) in rows)
    wait_until(lambda: site.job_state(session["job_id"]) in {"CANCELLED", "COMPLETED", "FAILED"}, "the job ended")
    wait_until(lambda: not agents_of(session["uid"]), "the agent is gone")
    with pytest.raises(HpcsecError):
        await alice.browser.fetch("GET", f"{alice.base()}api/kernels")


async def test_when_the_agent_dies_its_job_ends_and_no_process_stays(
    site: Site, working: tuple[Person, Kernel]
) -> None:
    alice, kernel = working
    escape = "import subprocess; subprocess.Popen(['setsid', '-f', 'sleep', '4323'])"
    await kernel.run(escape)  # out of the kernel's and the agent's process group
    session = await alice.session()
    uid = session["uid"]
    (agent,) = agents_of(uid)
    table = processes()
    assert len(descendants(agent, table)) > 2
    assert any(b"4323" in command_line(pid) for pid in processes_of(uid))
    os.kill(agent, signal.SIGKILL)
    await is_closed(kernel)
    wait_until(lambda: site.job_state(session["job_id"]) != "RUNNING", "the job ends")
    wait_until(lambda: not processes_of(uid), "no process of alice's is left")
    wait_until(lambda: not site.servers("alice"), "the hub knows that the server ended")
    assert (await site.gateway.show(session["id"]))["state"] == "ended"
    assert "Server ready" in (await alice.start())[-1]


@pytest.fixture
def quick_renewals(site: Site) -> Iterator[None]:
    """The gateway with the shortest certificates that it may give: an hour's would take a test half an hour."""
    config = site.state / "gateway" / "config.py"
    before = config.read_text()
    config.write_text(f"{before}c.HpcsecGateway.certificate_lifetime_s = 60\n")
    site.restart("gateway")
    yield
    config.write_text(before)
    site.restart("gateway")


@pytest.mark.usefixtures("quick_renewals")
async def test_a_job_that_is_given_more_time_keeps_its_session(site: Site) -> None:
    home = Path("/home/carol")
    (home / HOLD).touch()
    async with person(site, "carol") as carol:
        await carol.ask_for_server()
        wait_until(lambda: site.slurm("squeue", "--noheader", "--user=carol", "--states=R", "--format=%i"), "it runs")
        job = site.slurm("squeue", "--noheader", "--user=carol", "--format=%i")

        def end() -> int:
            return int(site.slurm("date", "+%s", "-d", site.slurm("squeue", "--noheader", f"--jobs={job}", "-o%e")))

        site.slurm("scontrol", "update", f"jobid={job}", "TimeLimit=3")
        short = end()
        (home / HOLD).unlink()
        async for _ in carol.progress():
            pass
        assert (await carol.session())["ends_at"] == short
        site.slurm("scontrol", "update", f"jobid={job}", "TimeLimit=20")
        assert end() == short + 17 * 60

        async def has_followed() -> bool:
            return int((await carol.session())["ends_at"]) == end()

        await eventually(has_followed, "a renewal finds the new end", 150)
        await carol.stop()


def test_the_parts_logs_hold_no_secret(site: Site) -> None:
    """Whatever was killed, nothing of what it logged on the way helps a thief."""
    for name in site.parts:
        text = site.log(name)
        assert text
        assert "eyJ" not in text, f"{name} logged a token"
        assert "PRIVATE KEY" not in text
    assert Path(site.state / "log").stat().st_mode & 0o077 == 0
