"""Reading a request safely: its media type, its body within bounds of size and time, and how many are read at once."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from http import HTTPStatus
from types import TracebackType
from typing import Any

from ingest_service.http.body import Body
from ingest_service.http.errors import RequestError, TooSlowError
from ingest_service.problems import ProblemError

Environ = Mapping[str, Any]  # a WSGI request (PEP 3333)
Deadline = Callable[[float], AbstractContextManager[None]]  # seconds; raises ``BodyTimeoutError``


class BodyTimeoutError(Exception):
    """A body did not arrive in time."""


class WaitingRoom:
    """The places for requests whose body is read, decoded, or waiting for the disk: ``with`` takes one.

    Raises ``ProblemError`` 503 where all are taken, so what waits is bounded in memory and in time.
    """

    def __init__(self, place_count: int, retry_after_s: int) -> None:
        self._free_count = place_count
        self._place_count = place_count
        self._retry_after_s = retry_after_s

    @property
    def taken_count(self) -> int:
        return self._place_count - self._free_count

    def __enter__(self) -> None:
        if self._free_count <= 0:
            raise ProblemError(503, "busy", "as many requests wait as may", self._retry_after_s)
        self._free_count -= 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._free_count += 1


def require_media_type(environ: Environ, expected: str) -> None:
    """Raises ``ProblemError`` 415 unless the body is declared as ``expected`` (parameters such as charset allowed)."""
    content_type = environ.get("CONTENT_TYPE")
    if content_type == expected:
        return
    declared = (content_type or "").partition(";")[0].strip().lower()
    if declared != expected:
        raise ProblemError(
            415, "media_type_unsupported", f"Content-Type must be {expected}, not {declared or 'absent'}"
        )


class BodyReader:
    """Whole bodies, chunked or with a length, of at most ``max_bytes`` and within ``timeout_s``."""

    def __init__(self, max_bytes: int, timeout_s: float, deadline: Deadline) -> None:
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._deadline = deadline

    def read(self, environ: Environ) -> bytes:
        """Raises ``ProblemError``: 413 beyond the bound, 400 if cut short, 408 if it takes too long."""
        declared = environ.get("CONTENT_LENGTH")
        try:
            length = int(declared) if declared else None
        except ValueError:
            raise ProblemError(400, "body_unreadable", "Content-Length is not a number") from None
        if length is None and not environ.get("wsgi.input_terminated"):
            return b""
        if length is not None and length > self._max_bytes:
            detail = f"the body has {length} bytes; at most {self._max_bytes} are taken"
            raise ProblemError(413, "body_too_large", detail)
        stream = environ["wsgi.input"]
        wanted_bytes = self._max_bytes + 1 if length is None else length
        if isinstance(stream, io.BytesIO):  # the server has read it already, within bounds of its own
            body = stream.read(wanted_bytes)
        else:
            body = self._read_from_client(stream, wanted_bytes)
        if length is None and len(body) > self._max_bytes:
            raise ProblemError(413, "body_too_large", f"the body has more than {self._max_bytes} bytes")
        if length is not None and len(body) < length:
            raise ProblemError(400, "body_unreadable", f"the body ends after {len(body)} of {length} bytes")
        return body

    def _read_from_client(self, stream: io.BufferedIOBase | Body, wanted_bytes: int) -> bytes:
        parts: list[bytes] = []
        # The service's own worker keeps the time itself; for gunicorn's a timer is needed.
        if isinstance(stream, Body):
            stream.finish_within(self._timeout_s)
            deadline: AbstractContextManager[None] = contextlib.nullcontext()
        else:
            deadline = self._deadline(self._timeout_s)
        try:
            with deadline:
                while wanted_bytes > 0:
                    part = stream.read(wanted_bytes)
                    if not part:
                        break
                    parts.append(part)
                    wanted_bytes -= len(part)
        except (BodyTimeoutError, TooSlowError):
            raise ProblemError(408, "body_timeout", "the body did not arrive in time") from None
        except RequestError as error:
            if error.http_status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:  # a chunk that says so before it comes
                raise ProblemError(413, "body_too_large", f"the body has more than {self._max_bytes} bytes") from None
            raise ProblemError(400, "body_unreadable", error.why) from None
        except Exception as error:  # each server has its own: bad chunks, a connection that closed, a timeout
            raise ProblemError(400, "body_unreadable", "the body could not be read to its end") from error
        return b"".join(parts)
