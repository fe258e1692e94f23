"""The OpenAPI 3.1 document of the whole surface, made from what the code itself reads, writes and refuses.

Belongs here: the description. The schemas are the structs of the endpoints and of the media events, the bounds are the
settings', the refusals are ``problems.REFUSALS``; nothing is said twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import msgspec

from ingest_service.endpoints import EndAnswer, EndRequest
from ingest_service.problems import MEDIA_TYPE, REFUSALS, Problem
from ingest_service.settings import Settings
from pipelines.media.schema import MediaEvent

_JSON = "application/json"
_OCTETS = "application/octet-stream"
_REFERENCE = "#/components/schemas/{name}"

_TOKEN = ("token_missing", "token_invalid", "token_expired", "keys_unavailable")
_BODY = ("media_type_unsupported", "busy", "body_too_large", "body_unreadable", "body_timeout")
_HOME = ("session_mismatch", "not_home_node")
_STREAM = ("sessions_full", "consent_unknown", "consent_missing", "consent_withdrawn", "session_ended", "rate_exceeded")
_DISK = ("disk_full", "disk_busy", "disk_failed", "recovering")
_POSE = (
    *("not_gzip", "gzip_truncated", "gzip_corrupt", "gzip_trailing_bytes", "version_unknown", "length_wrong"),
    *("decompressed_too_large", "frame_count_out_of_bounds", "fps_out_of_bounds", "coordinate_not_finite"),
    *("visibility_out_of_bounds", "timestamp_decreasing", "timestamp_out_of_bounds"),
)
# What any request may be told before anyone asks what it is for.
_ANY = (
    *("bad_request", "request_timeout", "target_too_long", "expectation_unknown", "head_too_large"),
    *("not_implemented", "version_unsupported"),
)


def document(settings: Settings) -> bytes:
    """The document as JSON."""
    types = [MediaEvent, EndRequest, EndAnswer, Problem]
    (event, end_request, end_answer, problem), schemas = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    _as_ecma(schemas)
    events = {"oneOf": [event, {"type": "array", "items": event, "minItems": 1, "maxItems": settings.media_events_max}]}
    paths = {
        "/v1/pose/frames": {"post": _pose(settings)},
        "/v1/media/events": {"post": _media(settings, events)},
        "/v1/sessions/{session_id}/end": {"post": _end(end_request, end_answer)},
        "/healthz": {"get": _probe("healthz", "Whether this process can do its work", "ok", ["disk_failed"])},
        "/readyz": {"get": _probe("readyz", "Whether to send it traffic", "ready", ["not_ready"])},
        "/metrics": {"get": _text("metrics", "Prometheus metrics over all workers", "text/plain")},
        "/openapi.json": {"get": _text("openapi", "This document", _JSON)},
    }
    for operations in paths.values():
        for operation in operations.values():
            for answer in operation["responses"].values():
                _describe(answer, problem)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "RestartiX telemetry ingest",
                "version": "1",
                "description": "Takes what a portal sends during an exercise session, and answers once it is on disk.",
            },
            "servers": [{"url": settings.ingest_url}],
            "paths": paths,
            "components": {
                "schemas": schemas,
                "securitySchemes": {"session": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
            },
        }
    )


def _pose(settings: Settings) -> dict[str, Any]:
    limits = settings.wire
    return {
        "operationId": "post_pose_frames",
        "summary": "One batch of pose frames, about a second of them",
        "description": (
            "Exactly one gzip member over: uint8 version (1), uint32 N, uint32 fps_hint, float32[N][33][4] "
            "x, y, z, visibility, uint32[N] timestamp_ms; little-endian, world landmarks in metres. "
            f"At most {settings.body_max_bytes} bytes, {limits.decompressed_max_bytes} decompressed, N in "
            f"1..{limits.frame_count_max}, fps in 1..{limits.fps_max}. 204 means on disk and fsynced; sent again it is "
            "acknowledged again and counts once."
        ),
        "security": [{"session": []}],
        "parameters": [
            {
                "name": "Batch-Seq",
                "in": "header",
                "required": False,
                "schema": {"type": "integer", "minimum": 0, "maximum": 999_999_999},
                "description": "The sender's numbering. Only reveals gaps; identity is the payload's.",
            }
        ],
        "requestBody": {"required": True, "content": {_OCTETS: {"schema": {"contentMediaType": "application/gzip"}}}},
        "responses": {
            "204": {"description": "Durable"},
            **_refusals(*_TOKEN, *_BODY, *_HOME, *_STREAM, *_POSE, *_DISK, *_ANY),
        },
    }


def _media(settings: Settings, events: dict[str, Any]) -> dict[str, Any]:
    return {
        "operationId": "post_media_events",
        "summary": f"One event of the video player, or up to {settings.media_events_max}",
        "description": "Unknown fields are left out and counted. 204 means on disk and fsynced.",
        "security": [{"session": []}],
        "requestBody": {"required": True, "content": {_JSON: {"schema": events}}},
        "responses": {
            "204": {"description": "Durable"},
            **_refusals(*_TOKEN, *_BODY, *_HOME, *_STREAM, "json_undecodable", "event_invalid", *_DISK, *_ANY),
        },
    }


def _end(request: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    session_id = {"name": "session_id", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}
    refused = ("json_undecodable", "end_invalid", "not_found")
    return {
        "operationId": "post_session_end",
        "summary": "The patient has finished or stopped",
        "description": "Asked again, answers the same: the first end stands. Needs no consent and has no rate.",
        "security": [{"session": []}],
        "parameters": [session_id],
        "requestBody": {"required": False, "content": {_JSON: {"schema": request}}},
        "responses": {
            "202": {"description": "Durable; figures follow", "content": {_JSON: {"schema": answer}}},
            **_refusals(*_TOKEN, *_BODY, *_HOME, *_DISK, *refused, *_ANY),
        },
    }


def _probe(name: str, summary: str, status: str, codes: list[str]) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"status": {"const": status}}, "required": ["status"]}
    good = {"description": "Yes", "content": {_JSON: {"schema": schema}}}
    return {"operationId": name, "summary": summary, "responses": {"200": good, **_refusals(*codes, *_ANY)}}


def _text(name: str, summary: str, media_type: str) -> dict[str, Any]:
    good = {"description": summary, "content": {media_type: {}}}
    return {"operationId": name, "summary": summary, "responses": {"200": good, **_refusals(*_ANY)}}


def _refusals(*codes: str) -> dict[str, dict[str, Any]]:
    """Answers by status, each with the codes it may carry; ``_describe`` completes them."""
    by_status: dict[str, dict[str, Any]] = {}
    for code in codes:
        by_status.setdefault(str(REFUSALS[code].status), {"codes": []})["codes"].append(code)
    return dict(sorted(by_status.items()))


def _describe(answer: dict[str, Any], problem: dict[str, Any]) -> None:
    codes: Iterable[str] | None = answer.pop("codes", None)
    if codes is None:
        return
    known = [REFUSALS[code] for code in codes]
    narrowed = {"properties": {"status": {"const": int(known[0].status)}, "code": {"enum": list(codes)}}}
    answer["description"] = f"{HTTPStatus(known[0].status).phrase}. " + "; ".join(
        f"{code}: {refusal.meaning}" for code, refusal in zip(codes, known, strict=True)
    )
    answer["content"] = {MEDIA_TYPE: {"schema": {"allOf": [problem, narrowed]}}}
    if any(refusal.retry for refusal in known):
        always = all(refusal.retry for refusal in known)
        answer["headers"] = {"Retry-After": {"required": always, "schema": {"type": "integer", "minimum": 1}}}


def _as_ecma(node: Any) -> None:  # noqa: ANN401 - any JSON
    """Python's anchors in patterns, in place, as JSON Schema knows them."""
    if isinstance(node, dict):
        if isinstance(pattern := node.get("pattern"), str):
            node["pattern"] = pattern.replace(r"\A", "^").replace(r"\Z", "$")
        for value in node.values():
            _as_ecma(value)
    elif isinstance(node, list):
        for value in node:
            _as_ecma(value)
