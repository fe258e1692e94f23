"""How a route says what it takes, gives and refuses. The app, the role check, the metrics and the OpenAPI document all
come from these declarations, so none of them can say something else.

Belongs here: the vocabulary. Does not belong here: any route; each module of ``core_api.resources`` has its ``ROUTES``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import falcon
import msgspec

from core_api.bodies import Body
from core_api.errors import Problem

if TYPE_CHECKING:
    from core_api.deps import Deps

Method = Literal["get", "post", "patch", "put", "delete"]

PATIENT, SPECIALIST, MANAGER, CONSOLE = "patient", "specialist", "manager", "console"
STAFF = (SPECIALIST, MANAGER)

PAGE_MAX = 200


class Query(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request's query parameters. Unknown ones are refused, so that a misspelt filter is noticed."""


class PageQuery(Query, frozen=True, kw_only=True):
    """The parameters of every list; a list with filters extends it (``core_api.pagination``)."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=PAGE_MAX)] = 50
    cursor: Annotated[str, msgspec.Meta(max_length=512)] | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What an operation answers. Made from a row with ``msgspec.convert``; columns it does not name stay inside."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one route.

    ``answers``: success status -> the type of its body (a struct, a dataclass, ``list[...]``; None: no body).
    ``refusals``: codes of ``problems.REFUSALS`` beyond those that follow from the rest (token, role, body, key, ETag).
    ``is_tagged``: the answer carries a strong ETag, and a GET may answer 304. ``is_conditional``: it demands If-Match.
    A POST demands an Idempotency-Key unless ``has_key`` is False (``core_api.changes``).
    """

    summary: str
    answers: Mapping[int, Any]
    roles: tuple[str, ...] = ()  # empty: public, no token
    body: type[Body] | None = None
    query: type[Query] | None = None
    refusals: tuple[str, ...] = ()
    description: str = ""
    is_tagged: bool = False
    is_conditional: bool = False
    has_key: bool = True
    media_type: str = falcon.MEDIA_JSON


@dataclass(frozen=True, slots=True)
class Route:
    """A path with what its methods do. ``resource`` is made once, over the app's parts, and has Falcon's responders."""

    path: str
    resource: Callable[[Deps], object]
    operations: Mapping[Method, Operation] = field(default_factory=dict)


AnyQuery = TypeVar("AnyQuery", bound=Query)


def parameters(req: falcon.Request, shape: type[AnyQuery]) -> AnyQuery:
    """The query string as ``shape``. Raises ``Problem`` 422 naming the parameter."""
    try:
        return msgspec.convert(req.params, shape, strict=False)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at ")
        name = path.strip("`").removeprefix("$").lstrip(".") or "query"
        errors = [{"field": name, "message": message}]
        raise Problem(422, "invalid_parameter", f"{name}: {message}", errors=errors) from None
