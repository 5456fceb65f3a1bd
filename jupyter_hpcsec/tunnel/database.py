"""One SQLite file of the gateway's: private, durable, of a schema that is known. Subclasses hold what is in it.

The file is 0600 in a 0700 directory; where that does not hold, or where it is another program's or of a newer schema,
opening is refused. A transaction that has returned is on disk (``synchronous=FULL``); one that raised changed nothing.
"""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from jupyter_hpcsec.errors import Refused, Unavailable
from jupyter_hpcsec.tunnel.private import private_directory, private_file


class Database:
    """One open database; may be used from several threads and, at once, by several processes.

    Raises ``Refused("store.…")`` where the file's owner, mode or schema is wrong, ``Unavailable`` where the disk, or
    another process that holds the lock longer than ``busy_s`` seconds, does not let it work.
    """

    application: ClassVar[int]
    """Four letters in SQLite's header, so that another program's database is not taken for ours."""
    schema: ClassVar[str]
    version: ClassVar[int]
    migrations: ClassVar[Mapping[int, str]]
    """By the schema that it begins with, what leads to the next one."""

    def __init__(self, path: Path, *, busy_s: float = 5.0) -> None:
        self._path = path
        self._lock = threading.RLock()
        private_directory(path.parent, rule="store")
        private_file(path, rule="store")
        with self._translated():
            self._db = sqlite3.connect(path, timeout=busy_s, isolation_level=None, check_same_thread=False)
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Close the database; using it afterwards raises ``Unavailable``."""
        with self._lock:
            self._db.close()

    def _prepare(self) -> None:
        with self._reading() as db:
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON", "trusted_schema = OFF"):
                db.execute(f"PRAGMA {pragma}").fetchall()
        with self._transaction() as db:
            application, version, tables = (
                db.execute(query).fetchone()[0]
                for query in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
            )
            if (application, version, tables) == (0, 0, 0):
                for statement in filter(str.strip, self.schema.split(";")):
                    db.execute(statement)
                db.execute(f"PRAGMA application_id = {self.application}")
                db.execute(f"PRAGMA user_version = {self.version}")
            elif application != self.application:
                raise Refused("store.foreign", f"{self._path} is another program's database; name another file.")
            else:
                self._migrate(db, version)

    def _migrate(self, db: sqlite3.Connection, version: int) -> None:
        while version != self.version:
            if version not in self.migrations:
                raise Refused(
                    "store.schema",
                    f"{self._path} has schema {version}, this version of jupyter-hpcsec reads {self.version}: "
                    "run the version that wrote it.",
                )
            for statement in filter(str.strip, self.migrations[version].split(";")):
                db.execute(statement)
            version += 1
            db.execute(f"PRAGMA user_version = {version}")

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as exc:
            raise Unavailable(f"The gateway's database {self._path} can't be used: {exc}.") from exc

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._translated():
            yield self._db

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._reading() as db:
            # IMMEDIATE takes the write lock first, so that what is read here still holds when it is written.
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                # SQLite rolls some failures back by itself (a full disk, say); a second ROLLBACK would be an error.
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
