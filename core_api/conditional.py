"""Optimistic concurrency (RFC 9110, section 13): strong ETags, ``If-Match`` on changes, ``If-None-Match`` on reads.

A tag is a hash of the representation's very bytes, so it changes exactly when what the caller saw changes, whoever
changed it and in whichever table. A change computes it again under the row's lock before it writes anything. Only
what is ``Beside`` a representation is answered and not hashed:
``docs/decisions/0054-what-streams-tell-is-beside-the-tag.md``.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any, NamedTuple

import falcon

from core_api.bodies import encode
from core_api.errors import Problem


class Beside(NamedTuple):
    """A representation, and what is answered with it but belongs to something else: no caller changes it, so it does
    not move the tag under one who does change the representation.
    """

    representation: dict[str, Any]
    beside: dict[str, Any]

    @property
    def whole(self) -> dict[str, Any]:
        """What is answered."""
        return {**self.representation, **self.beside}


_TAG = re.compile(r'(W/)?"[\x21\x23-\x7e\x80-\xff]*"')


def tag_of(representation: object) -> str:
    """The strong ETag of a representation, as it stands in the header."""
    if isinstance(representation, Beside):
        representation = representation.representation
    digest = hashlib.sha256(encode(representation)).digest()[:16]
    return f'"{base64.urlsafe_b64encode(digest).rstrip(b"=").decode()}"'


def whole(value: Any) -> Any:  # noqa: ANN401 - whatever msgspec encodes
    """What is answered of ``value``: it, or it with what is beside it."""
    return value.whole if isinstance(value, Beside) else value


def answer_tagged(
    req: falcon.Request,
    resp: falcon.Response,
    value: Any,  # noqa: ANN401 - whatever msgspec encodes
) -> None:
    """Answer a GET with ``value`` and its ETag, or 304 where ``If-None-Match`` names it."""
    body = encode(whole(value))
    tag = tag_of(value)
    resp.set_header("ETag", tag)
    # What was read may be kept by its reader, and is asked for again each time.
    resp.set_header("Cache-Control", "private, no-cache")
    # What is beside may be news to a reader whose tag still holds, so it is always sent.
    if not isinstance(value, Beside) and _names(req.get_header("If-None-Match") or "", tag, weakly=True):
        resp.status = falcon.HTTP_304
        return
    resp.status = falcon.HTTP_200
    resp.content_type = falcon.MEDIA_JSON
    resp.data = body


def given(req: falcon.Request) -> str:
    """The request's ``If-Match``. Raises ``Problem`` 428 where it names no tag; ``*`` would overwrite what the caller
    has not seen, so it is not enough.
    """
    header = (req.get_header("If-Match") or "").strip()
    if not header or header == "*":
        raise Problem(428, "if_match_missing", "a change needs If-Match with the ETag that was read")
    return header


def check(if_match: str, representation: object) -> None:
    """Raises ``Problem`` 412 where the resource, as it stands under its lock, is not what ``if_match`` names."""
    tag = tag_of(representation)
    if not _names(if_match, tag, weakly=False):
        # The current tag is not given: it is to be had by reading what it stands for.
        raise Problem(412, "if_match_failed", "the resource has changed since its ETag was read; read it again")


def _names(header: str, tag: str, *, weakly: bool) -> bool:
    if weakly and header.strip() == "*":
        return True
    return any(
        found.group(0).removeprefix("W/") == tag and (weakly or found.group(1) is None)
        for found in _TAG.finditer(header)
    )
