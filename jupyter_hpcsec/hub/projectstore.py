"""The registry of projects on disk, in SQLite beside the gateway's other database. It decides nothing.

It holds few rows that people change: each is one JSON value, checked against its type when it is read.
"""

from pathlib import Path

import msgspec

from jupyter_hpcsec.errors import Refused, Unavailable
from jupyter_hpcsec.projects.values import Project
from jupyter_hpcsec.tunnel.database import Database

FILE = "projects.sqlite"
"""In the gateway's state directory."""


class ProjectStore(Database):
    """One open registry; see ``Database`` for what may be raised."""

    application = 0x48505350  # "HPSP"
    version = 1
    schema = "CREATE TABLE projects (id TEXT PRIMARY KEY NOT NULL, revision INTEGER NOT NULL, value TEXT NOT NULL)"
    migrations = {}  # noqa: RUF012 - declared by the base

    def __init__(self, path: Path, *, busy_s: float = 5.0) -> None:
        super().__init__(path, busy_s=busy_s)
        self.all()  # what can't be read is found out at the gateway's start

    def get(self, name: str) -> Project | None:
        """One project, closed ones too."""
        with self._reading() as db:
            row = db.execute("SELECT id, value FROM projects WHERE id = ?", (name,)).fetchone()
        return self._project(*row) if row else None

    def all(self) -> list[Project]:
        """All of them, by their ids."""
        with self._reading() as db:
            return [self._project(*row) for row in db.execute("SELECT id, value FROM projects ORDER BY id")]

    def put(self, project: Project) -> None:
        """Write the next revision of a project, or its first; ``Refused`` when somebody else was faster."""
        value = msgspec.json.encode(project).decode()
        with self._transaction() as db:
            row = db.execute("SELECT revision FROM projects WHERE id = ?", (project.id,)).fetchone()
            if project.revision != (row[0] + 1 if row else 1):
                raise Refused("project.changed", f"The project {project.id} has changed meanwhile: look at it again.")
            db.execute(
                "INSERT INTO projects (id, revision, value) VALUES (?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, value = excluded.value",
                (project.id, project.revision, value),
            )

    def _project(self, name: str, value: str) -> Project:
        try:
            project = msgspec.json.decode(value, type=Project)
        except msgspec.DecodeError as exc:
            raise Unavailable(f"The project {name} in {self._path} can't be read: {exc}.") from exc
        if project.id != name:
            raise Unavailable(f"The project {name} in {self._path} says that it is {project.id}.")
        return project
