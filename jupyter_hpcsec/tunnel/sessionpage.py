"""One page of the running sessions: what is asked, as a statement for the store. Pure.

Pages are found by the last row of the page before, never by counting rows: the tenth page costs what the first does.
"""

from dataclasses import dataclass
from typing import Any, Literal

Order = Literal["newest", "user", "node"]

PAGE_LIMIT = 200
_KEYS: dict[str, tuple[str, str]] = {"newest": ("created_at", "DESC"), "user": ("user", "ASC"), "node": ("node", "ASC")}


@dataclass(frozen=True)
class SessionQuestion:
    """Which sessions: whose user, node and project contain these texts ('' asks nothing), in which order.

    ``after`` and ``after_id`` are the order's value and the id of the last row that was shown; '' for the first page.
    """

    user: str = ""
    node: str = ""
    project: str = ""
    order: Order = "newest"
    after: str = ""
    after_id: str = ""
    limit: int = 50

    def where(self) -> tuple[str, list[Any]]:
        """The condition and its values, whatever the page."""
        parts, values = ["state != 'ended'"], list[Any]()
        for name in ("user", "node", "project"):
            if getattr(self, name):
                parts.append(f"instr({name}, ?) > 0")
                values.append(getattr(self, name))
        return " AND ".join(parts), values

    def page(self, fields: str) -> tuple[str, list[Any]]:
        """The statement of one page, of one row more than ``limit``: whether there is a next one."""
        where, values = self.where()
        key, direction = _KEYS[self.order]
        if self.after_id:
            where += f" AND ({key}, id) {'<' if direction == 'DESC' else '>'} (?, ?)"
            values += [int(self.after) if key == "created_at" else self.after, self.after_id]
        order = f"{key} {direction}, id {direction}"
        query = f"SELECT {fields} FROM sessions WHERE {where} ORDER BY {order} LIMIT ?"  # noqa: S608
        return query, [*values, self.limit + 1]

    def count(self) -> tuple[str, list[Any]]:
        """The statement that counts all pages' rows."""
        where, values = self.where()
        return f"SELECT count(*) FROM sessions WHERE {where}", values  # noqa: S608
