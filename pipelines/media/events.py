"""Player events off and onto the wire.

Belongs here: decoding a request body into events, the canonical JSON of an event. Does not belong here: the events'
schemas (``schema.py``), what the events mean together (``aggregate.py``), HTTP, storage.

A value of the wrong type or out of bounds is refused, and the refusal names the field. Unknown fields are left out
and counted, so a newer player never breaks an older service.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Final, TypeAlias, get_args
from uuid import UUID

import msgspec

from pipelines.media.schema import MediaEvent

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

MAX_EVENTS: Final = 100
EARLIEST: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
LATEST: Final = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)


class MediaUndecodable(Exception):  # noqa: N818  named after the answer, not the accident
    """The body is not JSON (HTTP 400)."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class MediaInvalid(Exception):  # noqa: N818  named after the answer, not the accident
    """Well-formed JSON that breaks an event's schema or bounds (HTTP 422). ``field`` is a JSON path."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(f"{field}: {detail}")
        self.field = field
        self.detail = detail


class MediaSessionMismatch(Exception):  # noqa: N818  named after the answer, not the accident
    """An event names a session other than the token's (HTTP 403)."""

    def __init__(self, field: str) -> None:
        super().__init__(f"{field}: not the token's session")
        self.field = field


class ReceivedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event and when it was received (aware UTC)."""

    event: MediaEvent
    received_at: dt.datetime


class DecodedEvents(msgspec.Struct, frozen=True, kw_only=True):
    """One request's events, in the order sent."""

    events: tuple[MediaEvent, ...]
    unknown_field_count: int


def _field_names() -> dict[type, tuple[frozenset[str], frozenset[str]]]:
    """Event type -> (its own field names, its data's)."""
    names = {}
    for event_type in get_args(MediaEvent):
        fields = {field.encode_name: field.type for field in msgspec.structs.fields(event_type)}
        data = frozenset(field.encode_name for field in msgspec.structs.fields(fields["data"]))
        names[event_type] = (frozenset(fields) | {"event"}, data)
    return names


_FIELD_NAMES: Final = _field_names()
_encoder: Final = msgspec.json.Encoder()
_typed: Final = msgspec.json.Decoder(MediaEvent | list[MediaEvent])


def encode(event: MediaEvent) -> bytes:
    """The canonical JSON of an event: declared field order, unknown values left out, times in UTC."""
    return _encoder.encode(event)


def decode(body: bytes, session_id: UUID, max_events: int = MAX_EVENTS) -> DecodedEvents:
    """The events of one request body: a JSON object, or an array of 1 to ``max_events``.

    Raises ``MediaUndecodable`` (not JSON), ``MediaSessionMismatch`` (an event of another session; found before
    anything else is judged), ``MediaInvalid`` (wrong shape, type or bound; names the first such field).
    """
    raw = _parse(body)
    if isinstance(raw, list):
        if not 1 <= len(raw) <= max_events:
            raise MediaInvalid("$", f"an array holds 1 to {max_events} events, not {len(raw)}")
        items = [(f"$[{index}]", item) for index, item in enumerate(raw)]
    else:
        items = [("$", raw)]
    for path, item in items:
        _check_session(path, item, session_id)
    events = tuple(_event(path, item) for path, item in items)
    unknown = sum(_unknown_fields(event, item) for event, (_, item) in zip(events, items, strict=True))
    return DecodedEvents(events=events, unknown_field_count=unknown)


def _parse(body: bytes) -> Json:
    try:
        raw: Json = msgspec.json.decode(body)
    except msgspec.ValidationError as error:
        # A number no float can hold. The untyped decoder does not name its field; the typed one does.
        raise _invalid("$", error, lambda: _typed.decode(body)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MediaUndecodable(str(error)) from None
    except RecursionError:
        raise MediaUndecodable("nested too deeply") from None
    return raw


def _check_session(path: str, item: Json, session_id: UUID) -> None:
    named = item.get("session_id") if isinstance(item, dict) else None
    if not isinstance(named, str):
        return
    try:
        same = UUID(named) == session_id
    except ValueError:
        return  # not a UUID at all: the schema refuses it
    if not same:
        raise MediaSessionMismatch(f"{path}.session_id")


def _event(path: str, item: Json) -> MediaEvent:
    try:
        event: MediaEvent = msgspec.convert(item, MediaEvent)
    except msgspec.ValidationError as error:
        raise _invalid(path, error) from None
    at = event.timestamp
    # Compared without converting: the first and last years cannot be moved to another zone.
    if not EARLIEST <= at < LATEST:
        raise MediaInvalid(f"{path}.timestamp", f"outside {EARLIEST:%Y} to {LATEST:%Y}")
    if at.tzinfo is not dt.UTC:
        return msgspec.structs.replace(event, timestamp=at.astimezone(dt.UTC))
    return event


def _invalid(root: str, error: Exception, retry: Callable[[], object] | None = None) -> MediaInvalid:
    if retry is not None:
        try:
            retry()
        except (msgspec.DecodeError, RecursionError) as better:
            error = better
    detail, _, path = str(error).partition(" - at `")
    path = path.removesuffix("`").removeprefix("$")
    if detail.startswith("Object missing required field `"):
        path += "." + detail.removeprefix("Object missing required field `").removesuffix("`")
        detail = "required"
    return MediaInvalid(root + path, detail)


def _unknown_fields(event: MediaEvent, item: Json) -> int:
    """How many fields of the JSON object a valid event came from are not in its schema."""
    assert isinstance(item, dict)
    own, inner = _FIELD_NAMES[type(event)]
    data = item.get("data")
    return len(item.keys() - own) + (len(data.keys() - inner) if isinstance(data, dict) else 0)
