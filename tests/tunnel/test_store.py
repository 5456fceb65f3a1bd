import fcntl
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_hpcsec.errors import HpcsecError, Refused, Unavailable
from jupyter_hpcsec.tunnel.schema import SCHEMA_VERSION
from jupyter_hpcsec.tunnel.session import Session, State
from jupyter_hpcsec.tunnel.store import RETENTION_S, TOKEN_MARGIN_S, Revocation, Store

NOW = 1_800_000_000
ENDS = NOW + 86400
LAUNCH = {"argv": ["jupyterhub-singleuser"], "env": {"JUPYTERHUB_API_TOKEN": "s3cret"}, "base_url": "/user/alice/"}


def new_session(number: int = 1, **changes: object) -> Session:
    session = Session(
        id=f"{number:032x}",
        user="alice",
        server="",
        uid=2001,
        state=State.WAITING,
        job_id="",
        node="",
        created_at=NOW,
        ends_at=ENDS,
        serial="",
        reason="",
    )
    return replace(session, **changes)  # type: ignore[arg-type]


def claim(store: Store, number: int = 1, *, jti: str = "", serial: str = "", now: int = NOW) -> tuple[Session, dict]:
    return store.claim(
        jti or f"jti-{number}",
        session_id=f"{number:032x}",
        serial=serial or f"serial-{number}",
        node="n1",
        ends_at=1 << 40,
        token_expires=NOW + 600,
        now=now,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "gateway.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    store = Store(path)
    yield store
    store.close()


# -- opening ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
def test_its_files_are_private_whatever_the_umask(path: Path, suffix: str) -> None:
    before = os.umask(0)
    try:
        store = Store(path)
        store.add(new_session(), LAUNCH)
    finally:
        os.umask(before)
    assert Path(f"{path}{suffix}").stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    store.close()


def test_a_file_or_directory_that_others_may_read_is_refused(path: Path) -> None:
    Store(path).close()
    path.chmod(0o640)
    with pytest.raises(Refused) as error:
        Store(path)
    assert error.value.rule == "store.mode"
    path.chmod(0o600)
    path.parent.chmod(0o750)
    with pytest.raises(Refused) as error:
        Store(path)
    assert error.value.rule == "store.mode"
    path.parent.chmod(0o700)
    Store(path).close()


def edit(path: Path, statement: str) -> None:
    db = sqlite3.connect(path)
    with db:
        db.execute(statement)
    db.close()


def test_a_newer_schema_is_refused(path: Path) -> None:
    Store(path).close()
    edit(path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(Refused, match=f"schema {SCHEMA_VERSION + 1}") as error:
        Store(path)
    assert error.value.rule == "store.schema"


V1 = """
CREATE TABLE sessions (id TEXT PRIMARY KEY NOT NULL, user TEXT NOT NULL, server TEXT NOT NULL, uid INTEGER NOT NULL,
    state TEXT NOT NULL, job_id TEXT NOT NULL, node TEXT NOT NULL, created_at INTEGER NOT NULL,
    ends_at INTEGER NOT NULL,
    serial TEXT NOT NULL, reason TEXT NOT NULL, ended_at INTEGER, launch TEXT,
    CHECK ((state = 'ended') = (ended_at IS NOT NULL)), CHECK ((launch IS NOT NULL) = (state = 'waiting')));
CREATE INDEX sessions_by_state ON sessions (state);
CREATE TABLE tokens (jti TEXT PRIMARY KEY NOT NULL, session TEXT NOT NULL, expires INTEGER NOT NULL);
CREATE TABLE serials (serial TEXT PRIMARY KEY NOT NULL, session TEXT NOT NULL, expires INTEGER NOT NULL,
    revoked_at INTEGER);
CREATE INDEX serials_by_session ON serials (session);
INSERT INTO sessions VALUES ('0000000000000000000000000000000a', 'alice', '', 7, 'ready', '41', 'n1', 1, 2000000000,
    's', '', NULL, NULL);
PRAGMA application_id = 1213223751;
PRAGMA user_version = 1;
"""


def test_a_database_of_the_version_before_is_taken_over(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    db = sqlite3.connect(path)
    db.executescript(V1)
    db.close()
    path.chmod(0o600)
    for _ in range(2):
        store = Store(path)
        ((session, subject),) = store.subjects()
        assert (session.user, session.state, session.groups, session.access) == ("alice", State.READY, (), "")
        assert subject == "" and session.stale_at == 0
        store.close()


def test_another_programs_database_is_refused(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    edit(path, "CREATE TABLE theirs (x)")
    path.chmod(0o600)
    with pytest.raises(Refused) as error:
        Store(path)
    assert error.value.rule == "store.foreign"


def test_what_is_no_database_is_unavailable(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.write_bytes(b"not a database" * 100)
    path.chmod(0o600)
    with pytest.raises(Unavailable, match="not a database"):
        Store(path)


def test_a_closed_store_is_unavailable(path: Path) -> None:
    store = Store(path)
    store.close()
    with pytest.raises(Unavailable):
        store.is_revoked("serial-1")


def test_synchronous_is_full_and_the_journal_is_wal(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    connect = sqlite3.connect

    def traced(*args: object, **kwargs: object) -> sqlite3.Connection:
        db = connect(*args, **kwargs)  # type: ignore[call-overload]
        db.set_trace_callback(seen.append)
        return db  # type: ignore[no-any-return]

    monkeypatch.setattr(sqlite3, "connect", traced)
    Store(path).close()
    assert {"PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL"} <= set(seen)


# -- sessions -----------------------------------------------------------------------------------------------------


def test_whom_a_session_is_for_is_kept_with_what_it_may_do(store: Store) -> None:
    store.add(new_session(groups=("b", "a"), project="p", home="/home/alice"), LAUNCH)
    store.add(new_session(2), LAUNCH)
    assert store.subjects() == [], "a waiting session has no rules yet"
    with pytest.raises(Refused):
        store.set_stale("f" * 32, 1)
    number = f"{1:032x}"
    store.claim(
        "j", session_id=number, serial="s", node="n", ends_at=1 << 40, token_expires=NOW + 600, now=NOW,
        subject='{"user":"alice"}', access="a" * 64,
    )  # fmt: skip
    ((session, subject),) = store.subjects()
    assert (session.groups, session.project, session.home) == (("b", "a"), "p", "/home/alice")
    assert (subject, session.access, session.stale_at) == ('{"user":"alice"}', "a" * 64, 0)
    store.set_stale(number, NOW)
    assert store.subjects()[0][0].stale_at == NOW
    store.end(number, "over", NOW)
    assert store.subjects() == []
    with pytest.raises(Refused):
        store.set_stale(number, NOW)


def test_people_are_each_users_newest_session_those_who_work_now_first(store: Store) -> None:
    store.add(new_session(1, user="zoe", groups=("old",), created_at=NOW - 9), LAUNCH)
    store.end("1".zfill(32), "over", NOW)
    store.add(new_session(2, user="zoe", groups=("new",), created_at=NOW - 5), LAUNCH)
    store.add(new_session(3, user="zoe", groups=("newest, but over",), created_at=NOW), LAUNCH)
    store.end("3".zfill(32), "over", NOW)
    store.add(new_session(4, user="bob"), LAUNCH)
    store.end("4".zfill(32), "over", NOW)
    found = [(session.user, session.groups, session.state is State.ENDED) for session, _ in store.people(10)]
    assert found == [("zoe", ("new",), False), ("bob", (), True)]
    assert [session.user for session, _ in store.people(1)] == ["zoe"]


def test_a_session_id_is_taken_once(store: Store) -> None:
    store.add(new_session(), LAUNCH)
    with pytest.raises(Refused) as error:
        store.add(new_session(user="bob"), {})
    assert error.value.rule == "session.exists"
    assert store.get(new_session().id) == new_session()
    assert store.launch_of(new_session().id) == LAUNCH


@pytest.mark.parametrize(
    "changes", [{"id": "A" * 32}, {"id": "1"}, {"state": State.READY}, {"state": State.ENDED}, {"serial": "x"}]
)
def test_only_a_new_session_is_added(store: Store, changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="BUG"):
        store.add(new_session(**changes), LAUNCH)
    assert store.active() == []


def test_a_job_is_bound_once(store: Store) -> None:
    store.add(new_session(), LAUNCH)
    store.bind_job(new_session().id, "17")
    with pytest.raises(Refused) as error:
        store.bind_job(new_session().id, "18")
    assert error.value.rule == "session.job-bound"
    store.bind_job(new_session().id, "17")
    assert store.get(new_session().id) == new_session(job_id="17")


def test_unknown_and_ended_sessions_are_refused_everywhere(store: Store) -> None:
    calls = [
        lambda: store.bind_job(new_session().id, "17"),
        lambda: store.set_state(new_session().id, State.READY),
        lambda: store.renewed(new_session().id, "serial-2"),
        lambda: store.extend(new_session().id, ENDS + 1),
    ]
    for call in calls:
        with pytest.raises(Refused) as error:
            call()
        assert error.value.rule == "session.unknown"
    store.add(new_session(), LAUNCH)
    store.end(new_session().id, "stopped", NOW)
    for call in calls:
        with pytest.raises(Refused) as error:
            call()
        assert error.value.rule == "session.ended"


def test_an_end_moves_to_a_later_time_only(store: Store) -> None:
    store.add(new_session(), LAUNCH)
    claim(store)
    for asked, is_then in ((ENDS - 1, ENDS), (ENDS + 60, ENDS + 60), (ENDS, ENDS + 60)):
        store.extend(new_session().id, asked)
        session = store.get(new_session().id)
        assert session and session.ends_at == is_then
    store.renewed(new_session().id, "serial-2")
    store.end(new_session().id, "stolen", NOW)
    ends = {revocation.serial: revocation.expires for revocation in store.revocations()}
    assert ends == {"serial-1": ENDS, "serial-2": ENDS + 60}, "a revocation is kept as long as its certificate"


def test_waiting_is_left_by_a_claim_only(store: Store) -> None:
    store.add(new_session(), LAUNCH)
    for call in (
        lambda: store.set_state(new_session().id, State.READY),
        lambda: store.renewed(new_session().id, "serial-1"),
        lambda: store.extend(new_session().id, ENDS + 1),
    ):
        with pytest.raises(Refused) as error:
            call()
        assert error.value.rule == "session.not-enrolled"
    for state in (State.WAITING, State.ENDED):
        with pytest.raises(ValueError, match="BUG"):
            store.set_state(new_session().id, state)
    claim(store)
    store.set_state(new_session().id, State.READY)
    session = store.get(new_session().id)
    assert session is not None
    assert session.state is State.READY


def test_active_leaves_out_ended_sessions(store: Store) -> None:
    for number in (3, 1, 2):
        store.add(new_session(number), LAUNCH)
    store.end(new_session(1).id, "stopped", NOW)
    assert store.active() == [new_session(2), new_session(3)]


# -- claims -------------------------------------------------------------------------------------------------------


def test_a_claim_hands_out_the_launch_once(store: Store) -> None:
    store.add(new_session(job_id="17"), LAUNCH)
    assert not store.jti_used("jti-1")
    enrolled = new_session(job_id="17", state=State.ENROLLED, serial="serial-1", node="n1")
    assert claim(store) == (enrolled, LAUNCH)
    assert store.get(enrolled.id) == enrolled
    assert store.launch_of(enrolled.id) is None
    assert store.jti_used("jti-1")


def test_refused_claims_change_nothing(store: Store) -> None:
    store.add(new_session(1), LAUNCH)
    store.add(new_session(2), LAUNCH)
    claim(store, 1)
    refusals = {
        "enrol.token-used": lambda: claim(store, 2, jti="jti-1"),
        "enrol.session-not-waiting": lambda: claim(store, 1, jti="jti-new", serial="serial-new"),
        "enrol.session-unknown": lambda: claim(store, 9),
        "enrol.session-over": lambda: claim(store, 2, now=ENDS),
        "enrol.serial-used": lambda: claim(store, 2, serial="serial-1"),
    }
    before = store.get(new_session(1).id), store.get(new_session(2).id)
    for rule, call in refusals.items():
        with pytest.raises(Refused) as error:
            call()
        assert error.value.rule == rule
    assert (store.get(new_session(1).id), store.get(new_session(2).id)) == before
    assert store.launch_of(new_session(2).id) == LAUNCH
    assert not any(store.jti_used(jti) for jti in ("jti-2", "jti-new", "jti-9"))
    assert store.is_revoked("serial-new")
    assert claim(store, 2)[1] == LAUNCH


def test_a_claim_after_the_end_is_refused(store: Store) -> None:
    store.add(new_session(), LAUNCH)
    store.end(new_session().id, "stopped", NOW)
    with pytest.raises(Refused) as error:
        claim(store)
    assert error.value.rule == "enrol.session-not-waiting"
    assert store.launch_of(new_session().id) is None


def test_it_all_survives_a_reopen(path: Path) -> None:
    first = Store(path)
    for number in (1, 2, 3):
        first.add(new_session(number), LAUNCH)
    claim(first, 1)
    claim(first, 2)
    first.end(new_session(2).id, "stopped", NOW + 5)
    first.close()
    second = Store(path)
    assert second.jti_used("jti-1")
    assert not second.is_revoked("serial-1")
    assert second.is_revoked("serial-2")
    assert second.revocations() == [Revocation("serial-2", new_session(2).id, NOW + 5, ENDS)]
    with pytest.raises(Refused):
        claim(second, 1)
    assert claim(second, 3)[1] == LAUNCH
    second.close()


def test_of_many_threads_one_wins(path: Path) -> None:
    stores = [Store(path), Store(path)]
    rounds, threads = 15, 6
    for number in range(rounds):
        stores[0].add(new_session(number), LAUNCH)
    won: list[tuple[int, str]] = []
    lost: list[HpcsecError] = []
    barrier = threading.Barrier(threads)

    def race(thread: int) -> None:
        for number in range(rounds):
            barrier.wait()
            try:
                # One token used by all in even rounds, one token each in odd ones: both races have one winner.
                jti = f"jti-{number}" if number % 2 == 0 else f"jti-{number}-{thread}"
                session, _ = claim(stores[thread % 2], number, jti=jti, serial=f"{number}-{thread}")
            except HpcsecError as error:
                lost.append(error)
            else:
                won.append((number, session.serial))

    workers = [threading.Thread(target=race, args=(thread,)) for thread in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(number for number, _ in won) == list(range(rounds))
    assert len(lost) == rounds * (threads - 1)
    assert {getattr(error, "rule", error.reason) for error in lost} == {"enrol.token-used", "enrol.session-not-waiting"}
    for number, serial in won:
        session = stores[1].get(new_session(number).id)
        assert session is not None
        assert session.serial == serial
    for store in stores:
        store.close()


CLAIMER = """
import sys
from pathlib import Path
from jupyter_hpcsec.errors import Refused
from jupyter_hpcsec.tunnel.store import Store

store = Store(Path(sys.argv[1]), busy_s=30)
print("open", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[2])):
    try:
        store.claim(f"jti-{number}", session_id=f"{number:032x}", serial=f"{number}-{sys.argv[3]}", node="n1",
                    ends_at=1 << 40, token_expires=1_800_000_600, now=1_800_000_000)
    except Refused as error:
        assert error.rule == "enrol.token-used", error
    else:
        print(f"{number:>200}", flush=True)
"""


def claimer(path: Path, count: int, name: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", CLAIMER, str(path), str(count), name]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    # Room for some twenty reports: a claimer that nobody reads stops there, so a late kill finds work undone.
    fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
    assert process.stdout.readline() == "open\n"
    return process


def test_of_many_processes_one_wins(path: Path) -> None:
    count = 20
    store = Store(path)
    for number in range(count):
        store.add(new_session(number), LAUNCH)
    claimers = [claimer(path, count, name) for name in "abc"]
    for process in claimers:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    output = [process.communicate()[0] for process in claimers]
    assert [process.returncode for process in claimers] == [0, 0, 0]
    assert sorted(int(line) for text in output for line in text.split()) == list(range(count))
    for name, text in zip("abc", output, strict=True):
        for line in text.split():
            session = store.get(new_session(int(line)).id)
            assert session is not None
            assert session.serial == f"{line}-{name}"
    store.close()


def test_a_kill_leaves_each_claim_whole_or_undone(path: Path) -> None:
    count = 400
    store = Store(path)
    for number in range(count):
        store.add(new_session(number), LAUNCH)
    store.close()
    for victim in ("a", "b", "c"):
        process = claimer(path, count, victim)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        reported = [int(process.stdout.readline()) for _ in range(5)]
        process.send_signal(signal.SIGKILL)
        reported += [int(line) for line in process.communicate()[0].split("\n")[:-1]]
        store = Store(path)
        for number in reported:
            session = store.get(new_session(number).id)
            assert session is not None
            assert session.serial == f"{number}-{victim}", "what was reported was on disk"
        for number in range(count):
            session = store.get(new_session(number).id)
            assert session is not None
            waits = session.state is State.WAITING
            assert waits is (store.launch_of(session.id) == LAUNCH)
            assert waits is not store.jti_used(f"jti-{number}")
            assert waits is store.is_revoked(session.serial)
        assert any(session.state is State.WAITING for session in store.active()), "the kill came too late to test"
        store.close()


FILLER = """
import resource, signal, sys
from pathlib import Path
from jupyter_hpcsec.errors import Unavailable
from jupyter_hpcsec.tunnel.session import Session, State
from jupyter_hpcsec.tunnel.store import Store

path = Path(sys.argv[1])
store = Store(path)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
full = Path(f"{path}-wal").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))
calls = [
    lambda: store.claim("jti-1", session_id=f"{1:032x}", serial="s", node="n", ends_at=1 << 40, token_expires=1, now=0),
    lambda: store.end(f"{1:032x}", "stopped", 0),
    lambda: store.bind_job(f"{1:032x}", "17"),
    lambda: store.add(Session(f"{2:032x}", "bob", "", 2, State.WAITING, "", "", 0, 9, "", ""), {"big": "x" * 100000}),
]
refused = 0
for call in calls:
    try:
        call()
    except Unavailable:
        refused += 1
print(refused, store.jti_used("jti-1"), store.get(f"{1:032x}").state, store.launch_of(f"{1:032x}") is not None)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
one = dict(session_id=f"{1:032x}", serial="s", node="n", ends_at=1 << 40, token_expires=1, now=0)
print(store.claim("jti-1", **one)[0].state)
"""


def test_a_full_disk_is_unavailable_and_changes_nothing(path: Path) -> None:
    store = Store(path)
    store.add(new_session(), LAUNCH)
    done = subprocess.run([sys.executable, "-c", FILLER, str(path)], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["4", "False", "waiting", "True", "enrolled"], done.stderr
    store.close()


def test_a_lock_held_by_another_process_is_unavailable(path: Path) -> None:
    store = Store(path, busy_s=0)
    store.add(new_session(), LAUNCH)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked"):
        claim(store)
    assert not store.jti_used("jti-1")
    other.execute("ROLLBACK")
    other.close()
    claim(store)
    store.close()


# -- revocation ---------------------------------------------------------------------------------------------------


def test_a_serial_that_was_never_recorded_counts_as_revoked(store: Store) -> None:
    assert store.is_revoked("serial-1")
    store.add(new_session(), LAUNCH)
    claim(store)
    assert not store.is_revoked("serial-1")
    assert store.revocations() == []


def test_the_end_revokes_every_certificate_of_the_session_and_only_those(store: Store) -> None:
    for number in (1, 2):
        store.add(new_session(number), LAUNCH)
        claim(store, number)
    store.renewed(new_session(1).id, "serial-1b")
    with pytest.raises(Refused) as error:
        store.renewed(new_session(2).id, "serial-1b")
    assert error.value.rule == "enrol.serial-used"
    assert not store.is_revoked("serial-1b")
    ended = store.end(new_session(1).id, "stopped by alice", NOW + 7)
    assert ended == new_session(1, state=State.ENDED, serial="serial-1b", node="n1", reason="stopped by alice")
    assert [store.is_revoked(serial) for serial in ("serial-1", "serial-1b", "serial-2")] == [True, True, False]
    assert [entry.serial for entry in store.revocations()] == ["serial-1", "serial-1b"]


def test_the_first_end_stays(store: Store) -> None:
    assert store.end(new_session().id, "stopped", NOW) is None
    store.add(new_session(), LAUNCH)
    first = store.end(new_session().id, "stopped", NOW)
    assert store.end(new_session().id, "something else", NOW + 9) == first


# -- purge --------------------------------------------------------------------------------------------------------


def test_purge_keeps_what_still_protects(store: Store) -> None:
    for number in (1, 2):
        store.add(new_session(number), LAUNCH)
        claim(store, number)
    store.end(new_session(1).id, "stopped", NOW)
    store.purge(NOW + 600)
    assert store.jti_used("jti-1")
    store.purge(NOW + 600 + TOKEN_MARGIN_S + 1)
    assert not store.jti_used("jti-1")
    with pytest.raises(Refused) as error:
        claim(store, 1, serial="serial-new")
    assert error.value.rule == "enrol.session-not-waiting"
    store.purge(ENDS)
    assert store.is_revoked("serial-1")
    assert store.revocations()
    assert not store.is_revoked("serial-2")
    store.purge(ENDS + TOKEN_MARGIN_S + 1)
    assert store.revocations() == []
    assert store.is_revoked("serial-1")
    assert store.get(new_session(1).id) is not None
    store.purge(NOW + RETENTION_S + 1)
    assert store.get(new_session(1).id) is None
    assert store.get(new_session(2).id) is not None, "only ended sessions are forgotten"


def test_nothing_of_a_launch_stays_in_the_files_after_a_purge(path: Path, store: Store) -> None:
    store.add(new_session(), LAUNCH)
    files = [path, Path(f"{path}-wal")]
    assert any(b"s3cret" in file.read_bytes() for file in files)
    claim(store)
    store.purge(NOW)
    assert not any(b"s3cret" in file.read_bytes() for file in files)


# -- any order of calls -------------------------------------------------------------------------------------------

CALLS = st.lists(
    st.tuples(st.sampled_from(["add", "bind", "claim", "renew", "state", "end"]), st.integers(1, 2), st.integers(1, 3)),
    max_size=25,
)


@settings(max_examples=40, deadline=None)
@given(CALLS)
def test_in_any_order_of_calls_the_invariants_hold(
    tmp_path_factory: pytest.TempPathFactory, calls: list[tuple[str, int, int]]
) -> None:
    store = Store(tmp_path_factory.mktemp("any") / "state" / "db")
    given_out: dict[str, int] = {}
    ended: set[str] = set()
    for call, number, other in calls:
        session_id = f"{number:032x}"
        try:
            match call:
                case "add":
                    store.add(new_session(number), LAUNCH)
                case "bind":
                    store.bind_job(session_id, str(other))
                case "claim":
                    claim(store, number, jti=f"jti-{number}-{other}", serial=f"serial-{number}-{other}")
                    given_out[session_id] = given_out.get(session_id, 0) + 1
                case "renew":
                    store.renewed(session_id, f"renewal-{number}-{other}")
                case "state":
                    store.set_state(session_id, State.AWAY)
                case "end":
                    if store.end(session_id, "stopped", NOW):
                        ended.add(session_id)
        except Refused:
            continue
    assert all(count == 1 for count in given_out.values())
    for number in (1, 2):
        session = store.get(f"{number:032x}")
        if session is None:
            continue
        assert (session.state is State.ENDED) is (session.id in ended)
        assert (store.launch_of(session.id) is not None) is (session.state is State.WAITING)
        assert store.is_revoked(session.serial) is (session.state in (State.WAITING, State.ENDED))
    store.close()


def test_a_session_ends_with_its_job_if_that_is_earlier(store: Store) -> None:
    for number, (job_end, expected) in enumerate([(NOW + 60, NOW + 60), (1 << 40, new_session().ends_at)], start=1):
        store.add(new_session(number), LAUNCH)
        session, _ = store.claim(
            f"jti-{number}",
            session_id=f"{number:032x}",
            serial=f"serial-{number}",
            node="n1",
            ends_at=job_end,
            token_expires=NOW + 600,
            now=NOW,
        )
        assert session.ends_at == expected


def test_what_was_heard_of_a_node_only_grows_and_goes_with_its_session(store: Store) -> None:
    assert store.heard("a" * 32) == (0, 0)
    for at, then in (((5, 3), (5, 3)), ((5, 2), (5, 3)), ((4, 9), (5, 3)), ((6, 1), (6, 1))):
        store.set_heard("a" * 32, *at)
        assert store.heard("a" * 32) == then
    store.purge(NOW)
    assert store.heard("a" * 32) == (0, 0)  # no such session
