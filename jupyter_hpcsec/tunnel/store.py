"""The gateway's memory: sessions, used token ids, serials and revocations, in SQLite.

It holds what must survive a killed gateway: which sessions wait, which tokens were used, which certificates are
revoked. Every method is one transaction; when it returns, the change is on disk (``synchronous=FULL``); when it
raises, nothing changed. It decides nothing about tokens or certificates, reads no clock and speaks to no peer.

The launch specification of a waiting session holds secrets of the single-user server, so that the file is 0600 in a
0700 directory, opening is refused where that does not hold, and the specification is deleted when it is handed out.
"""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_hpcsec.errors import Refused
from jupyter_hpcsec.tunnel.database import Database
from jupyter_hpcsec.tunnel.schema import APPLICATION_ID, MIGRATIONS, SCHEMA, SCHEMA_VERSION
from jupyter_hpcsec.tunnel.session import SESSION_ID, Session, State
from jupyter_hpcsec.tunnel.sessionpage import SessionQuestion

TOKEN_MARGIN_S = 300
"""Seconds for which a used token id is kept after its token expired, in case the clock is set back."""

RETENTION_S = 30 * 86400
"""Seconds for which an ended session is shown, by default."""

_FIELDS = (
    "id, user, server, uid, state, job_id, node, created_at, ends_at, serial, reason, groups, project, home, access, "
    "stale_at"
)


@dataclass(frozen=True)
class Revocation:
    """One revoked certificate. Times are Unix seconds; after ``expires`` it is worthless without this entry too."""

    serial: str
    session: str
    revoked_at: int
    expires: int


def _session(row: tuple[Any, ...]) -> Session:
    values = dict(zip(_FIELDS.split(", "), row, strict=True))
    return Session(**(values | {"state": State(values["state"]), "groups": tuple(json.loads(values["groups"]))}))


def _row_of(session: Session) -> tuple[Any, ...]:
    values = {name: getattr(session, name) for name in _FIELDS.split(", ")}
    return tuple((values | {"groups": json.dumps(session.groups)}).values())


class Store(Database):
    """One open database; may be used from several threads and, at once, by several processes.

    Raises ``Refused("store.…")`` where the file's owner, mode or schema is wrong, ``Unavailable`` where the disk, or
    another process that holds the lock longer than ``busy_s`` seconds, does not let it work.
    """

    application = APPLICATION_ID
    schema = SCHEMA
    version = SCHEMA_VERSION
    migrations = MIGRATIONS

    def __init__(self, path: Path, *, busy_s: float = 5.0, retention_s: int = RETENTION_S) -> None:
        super().__init__(path, busy_s=busy_s)
        self._retention_s = retention_s

    # -- sessions ---------------------------------------------------------------------------------------------------

    def add(self, session: Session, launch: Mapping[str, Any]) -> None:
        """Remember a new waiting session and what its job shall start; ``Refused`` when the id is taken."""
        if not SESSION_ID.fullmatch(session.id) or session.state is not State.WAITING or session.serial:
            raise ValueError(f"BUG: {session!r} is not a new session")
        values = (*_row_of(session), json.dumps(dict(launch)))
        with self._transaction() as db:
            if self._row(db, session.id):
                raise Refused("session.exists", f"Session {session.id} exists; register a new one.")
            places = ",".join("?" * len(values))
            db.execute(f"INSERT INTO sessions ({_FIELDS}, launch) VALUES ({places})", values)  # noqa: S608

    def bind_job(self, session_id: str, job_id: str) -> None:
        """Bind the session to the batch system's job, once; the same job again changes nothing."""
        with self._transaction() as db:
            session = self._live(db, session_id)
            if session.job_id and session.job_id != job_id:
                raise Refused("session.job-bound", f"Session {session_id} belongs to job {session.job_id}.")
            db.execute("UPDATE sessions SET job_id = ? WHERE id = ?", (job_id, session_id))

    def get(self, session_id: str) -> Session | None:
        """The session, ended ones included until they are purged."""
        with self._reading() as db:
            return self._row(db, session_id)

    def active(self) -> list[Session]:
        """All sessions that have not ended, oldest first."""
        query = f"SELECT {_FIELDS} FROM sessions WHERE state != 'ended' ORDER BY created_at, id"  # noqa: S608
        with self._reading() as db:
            return [_session(row) for row in db.execute(query)]

    def page(self, asked: SessionQuestion) -> tuple[list[Session], int]:
        """One page of the sessions that have not ended, and one more if there are more; how many there are in all."""
        with self._reading() as db:
            found = [_session(row) for row in db.execute(*asked.page(_FIELDS))]
            return found, int(db.execute(*asked.count()).fetchone()[0])

    def launch_of(self, session_id: str) -> dict[str, Any] | None:
        """What a waiting session's job shall start; None once it was handed out or the session ended."""
        with self._reading() as db:
            row = db.execute("SELECT launch FROM sessions WHERE id = ?", (session_id,)).fetchone()
        return dict(json.loads(row[0])) if row and row[0] is not None else None

    def set_state(self, session_id: str, state: State) -> None:
        """Move an enrolled session on. Waiting is left by ``claim`` only, and only ``end`` ends."""
        if state in (State.WAITING, State.ENDED):
            raise ValueError(f"BUG: set_state to {state}")
        with self._transaction() as db:
            if self._live(db, session_id).state is State.WAITING:
                raise Refused("session.not-enrolled", f"Session {session_id} has not enrolled.")
            db.execute("UPDATE sessions SET state = ? WHERE id = ?", (state, session_id))

    def subjects(self) -> list[tuple[Session, str]]:
        """The sessions that have enrolled and not ended, each with the subject that ``claim`` was given."""
        query = f"SELECT {_FIELDS}, subject FROM sessions WHERE state NOT IN ('waiting', 'ended') ORDER BY id"  # noqa: S608
        with self._reading() as db:
            return [(_session(row[:-1]), str(row[-1])) for row in db.execute(query)]

    def people(self, limit: int) -> list[tuple[Session, str]]:
        """Each user's newest session, ended ones included until they are purged, with its subject (``subjects``).

        Users with a session that runs come first, with that one; ``limit`` at most.
        """
        query = f"""SELECT {_FIELDS}, subject FROM (
            SELECT *, row_number() OVER (PARTITION BY user ORDER BY state = 'ended', created_at DESC, id) AS place
            FROM sessions) WHERE place = 1 ORDER BY state = 'ended', user LIMIT ?"""  # noqa: S608
        with self._reading() as db:
            return [(_session(row[:-1]), str(row[-1])) for row in db.execute(query, (limit,))]

    def set_stale(self, session_id: str, stale_at: int) -> None:
        """Remember since when (Unix seconds) a session's rules are no longer the policy's; 0: they are."""
        with self._transaction() as db:
            self._live(db, session_id)
            db.execute("UPDATE sessions SET stale_at = ? WHERE id = ?", (stale_at, session_id))

    def end(self, session_id: str, reason: str, now: int) -> Session | None:
        """End the session for good and revoke all its certificates; None when there is no such session.

        Ending an ended session changes nothing: the first reason stays.
        """
        with self._transaction() as db:
            session = self._row(db, session_id)
            if session is None or session.state is State.ENDED:
                return session
            db.execute(
                "UPDATE sessions SET state = 'ended', reason = ?, ended_at = ?, launch = NULL WHERE id = ?",
                (reason, now, session_id),
            )
            db.execute("UPDATE serials SET revoked_at = ? WHERE session = ? AND revoked_at IS NULL", (now, session_id))
            return self._row(db, session_id)

    # -- what nodes told --------------------------------------------------------------------------------------------

    def heard(self, session_id: str) -> tuple[int, int]:
        """(boot, seq) of the last event of a session's node that is on record; (0, 0) before the first."""
        with self._reading() as db:
            row = db.execute("SELECT boot, seq FROM told WHERE session = ?", (session_id,)).fetchone()
        return (int(row[0]), int(row[1])) if row else (0, 0)

    def set_heard(self, session_id: str, boot: int, seq: int) -> None:
        """Remember it; never an earlier one than before."""
        with self._transaction() as db:
            db.execute(
                "INSERT INTO told (session, boot, seq) VALUES (?, ?, ?) ON CONFLICT (session) DO UPDATE "
                "SET boot = excluded.boot, seq = excluded.seq WHERE (excluded.boot, excluded.seq) > (boot, seq)",
                (session_id, boot, seq),
            )

    def nodes(self) -> list[str]:
        """Every node whose root's helper has told something."""
        with self._reading() as db:
            rows = db.execute("SELECT session FROM told WHERE session GLOB 'node/*' ORDER BY session").fetchall()
        return [row[0].removeprefix("node/") for row in rows]

    def session_of_job(self, job_id: str, node: str) -> str:
        """The session that a job on a node is of, an ended one too; empty where there is none."""
        query = "SELECT id FROM sessions WHERE job_id = ? AND node = ? ORDER BY created_at DESC, id LIMIT 1"
        with self._reading() as db:
            row = db.execute(query, (job_id, node)).fetchone()
        return str(row[0]) if row else ""

    # -- tokens and certificates ------------------------------------------------------------------------------------

    def jti_used(self, jti: str) -> bool:
        """Whether this token id was used. ``claim`` asks again: this alone decides nothing."""
        with self._reading() as db:
            return self._jti_used(db, jti)

    def claim(
        self,
        jti: str,
        *,
        session_id: str,
        serial: str,
        node: str,
        ends_at: int,
        token_expires: int,
        now: int,
        subject: str = "",
        access: str = "",
    ) -> tuple[Session, dict[str, Any]]:
        """Use the token, enrol its session and hand out the launch specification: all of it once, or nothing.

        Times are Unix seconds. Of any number of callers at once, in any number of processes, one wins; the others get
        ``Refused``. ``ends_at`` is the job's end where it is known: the session's own end moves to it if that is
        earlier. The caller owes all checks of token, job and certificate request before. ``subject`` and ``access`` are
        kept for ``subjects``: whom the session is for, and the hash of what it may do.
        """
        with self._transaction() as db:
            # 1. The token's id is new.
            if self._jti_used(db, jti):
                raise Refused("enrol.token-used", "This job token was used before; start the server again.")
            # 2. The session exists, waits, and its time is not over.
            session = self._row(db, session_id)
            if session is None:
                raise Refused("enrol.session-unknown", f"There is no session {session_id}.")
            if session.state is not State.WAITING:
                raise Refused("enrol.session-not-waiting", f"Session {session_id} is {session.state}, not waiting.")
            if session.ends_at <= now:
                raise Refused("enrol.session-over", f"Session {session_id} is over; start the server again.")
            # 3. The certificate's serial is new; a second certificate with it could not be revoked apart.
            if db.execute("SELECT 1 FROM serials WHERE serial = ?", (serial,)).fetchone():
                raise Refused("enrol.serial-used", "The certificate's serial was issued before.")
            # 4. The launch specification leaves the disk with this answer.
            launch = dict(
                json.loads(db.execute("SELECT launch FROM sessions WHERE id = ?", (session_id,)).fetchone()[0])
            )
            db.execute("INSERT INTO tokens (jti, session, expires) VALUES (?, ?, ?)", (jti, session_id, token_expires))
            self._record_serial(db, session, serial)
            db.execute(
                "UPDATE sessions SET state = 'enrolled', serial = ?, node = ?, ends_at = min(ends_at, ?), "
                "launch = NULL, subject = ?, access = ? WHERE id = ?",
                (serial, node, ends_at, subject, access, session_id),
            )
            return self._live(db, session_id), launch

    def extend(self, session_id: str, ends_at: int) -> None:
        """Move an enrolled session's end (Unix seconds) to a later one; an earlier one changes nothing."""
        with self._transaction() as db:
            if self._live(db, session_id).state is State.WAITING:
                raise Refused("session.not-enrolled", f"Session {session_id} has not enrolled.")
            db.execute("UPDATE sessions SET ends_at = max(ends_at, ?) WHERE id = ?", (ends_at, session_id))

    def renewed(self, session_id: str, serial: str) -> None:
        """Record a renewal's serial; call it before the certificate leaves. Earlier ones run out by themselves."""
        with self._transaction() as db:
            session = self._live(db, session_id)
            if session.state is State.WAITING:
                raise Refused("session.not-enrolled", f"Session {session_id} has not enrolled.")
            if db.execute("SELECT 1 FROM serials WHERE serial = ?", (serial,)).fetchone():
                raise Refused("enrol.serial-used", "The certificate's serial was issued before.")
            self._record_serial(db, session, serial)
            db.execute("UPDATE sessions SET serial = ? WHERE id = ?", (serial, session_id))

    def is_revoked(self, serial: str) -> bool:
        """Whether a certificate is worthless. One that was never recorded is: the database may be an old copy."""
        with self._reading() as db:
            row = db.execute("SELECT revoked_at FROM serials WHERE serial = ?", (serial,)).fetchone()
        return row is None or row[0] is not None

    def revocations(self) -> list[Revocation]:
        """All revoked certificates that are kept, oldest first."""
        query = (
            "SELECT serial, session, revoked_at, expires FROM serials WHERE revoked_at IS NOT NULL "
            "ORDER BY revoked_at, serial"
        )
        with self._reading() as db:
            return [Revocation(*row) for row in db.execute(query)]

    def purge(self, now: int) -> None:
        """Forget what no longer protects: expired tokens' ids, expired certificates, sessions ended long ago.

        The write-ahead log is emptied too, since it may still hold launch specifications that were handed out.
        """
        with self._transaction() as db:
            db.execute("DELETE FROM tokens WHERE expires < ?", (now - TOKEN_MARGIN_S,))
            db.execute("DELETE FROM serials WHERE expires < ?", (now - TOKEN_MARGIN_S,))
            db.execute(
                "DELETE FROM sessions WHERE state = 'ended' AND ended_at < ? "
                "AND id NOT IN (SELECT session FROM tokens) AND id NOT IN (SELECT session FROM serials)",
                (now - self._retention_s,),
            )
            db.execute("DELETE FROM told WHERE session NOT GLOB 'node/*' AND session NOT IN (SELECT id FROM sessions)")
        with self._reading() as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    # -- one transaction --------------------------------------------------------------------------------------------

    @staticmethod
    def _row(db: sqlite3.Connection, session_id: str) -> Session | None:
        row = db.execute(f"SELECT {_FIELDS} FROM sessions WHERE id = ?", (session_id,)).fetchone()  # noqa: S608
        return _session(row) if row else None

    def _live(self, db: sqlite3.Connection, session_id: str) -> Session:
        session = self._row(db, session_id)
        if session is None:
            raise Refused("session.unknown", f"There is no session {session_id}.")
        if session.state is State.ENDED:
            raise Refused("session.ended", f"Session {session_id} has ended.")
        return session

    @staticmethod
    def _jti_used(db: sqlite3.Connection, jti: str) -> bool:
        return db.execute("SELECT 1 FROM tokens WHERE jti = ?", (jti,)).fetchone() is not None

    @staticmethod
    def _record_serial(db: sqlite3.Connection, session: Session, serial: str) -> None:
        db.execute(
            "INSERT INTO serials (serial, session, expires) VALUES (?, ?, ?)", (serial, session.id, session.ends_at)
        )
