"""Lists a page at a time, by cursor: the key of the last row given, so a page costs the same however far it is.

A cursor is opaque to callers and names its list; one of another list, or made up, is refused. It carries keys that the
caller has already seen and grants nothing: the query behind it runs under row-level security as any other.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import falcon
import msgspec

from core_api.database import Row
from core_api.errors import Problem
from core_api.surface import Answer, PageQuery

Key = TypeVar("Key")
Item = TypeVar("Item")


class Page(NamedTuple, Generic[Key]):
    """What is asked for. The query behind it reads ``fetch`` rows, those after ``after`` in its order."""

    name: str
    limit: int
    after: Key | None

    @property
    def fetch(self) -> int:
        """One more than the page has, so that the last page knows it is."""
        return self.limit + 1


class Paged(Answer, Generic[Item], frozen=True, kw_only=True):
    """One page of a list; ``next_cursor`` is None on the last."""

    items: list[Item]
    next_cursor: str | None


def page(query: PageQuery, name: str, key: Any) -> Page[Any]:  # noqa: ANN401 - a type, annotated or not
    """The page that ``query`` asks of the list ``name``, ordered by a key of type ``key`` (scalar or tuple).

    Raises ``Problem`` 400 ``cursor_invalid``.
    """
    return Page(name, query.limit, None if query.cursor is None else _decode(query.cursor, name, key))


def give(
    req: falcon.Request,
    resp: falcon.Response,
    asked: Page[Any],
    rows: Sequence[Row],
    *,
    key: Callable[[Row], object],
    item: Callable[[Row], Item],
) -> Paged[Item]:
    """The page's answer from the up to ``fetch`` rows read; a ``Link`` header (RFC 8288) leads to the next one."""
    kept = rows[: asked.limit]
    cursor = _encode(asked.name, key(kept[-1])) if len(rows) > asked.limit else None
    if cursor is not None:
        following = {**req.params, "cursor": cursor}
        resp.append_link(f"{req.path}{falcon.to_query_str(following)}", "next")
    return Paged(items=[item(row) for row in kept], next_cursor=cursor)


def _encode(name: str, key: object) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode([name, key])).rstrip(b"=").decode()


def _decode(cursor: str, name: str, key: Any) -> Any:  # noqa: ANN401
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        given, found = msgspec.json.decode(raw, type=tuple[str, key])
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise Problem(400, "cursor_invalid", "the cursor is not one this list gave") from None
    if given != name:
        raise Problem(400, "cursor_invalid", "the cursor is another list's")
    return found
