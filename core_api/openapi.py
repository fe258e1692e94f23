"""The OpenAPI 3.1 document of the whole surface, made from the routes' own declarations and ``problems.REFUSALS``.

Belongs here: turning the declarations into a document. Does not belong here: what a route does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from core_api.bodies import BIGINT_MAX
from core_api.problems import MEDIA_TYPE, REFUSALS
from core_api.settings import Settings
from core_api.surface import Operation, Route

_JSON = "application/json"
_REFERENCE = "#/components/schemas/{name}"
_FALCON = ("bad_request",)
_TOKEN = ("token_missing", "token_invalid", "token_expired", "identity_unavailable", "role_not_allowed")
_DATABASE = ("database_unavailable", "invalid_value")
_BODY = ("malformed_json", "body_too_large", "unsupported_media_type", "invalid_body")
_KEY = ("idempotency_key_missing", "idempotency_key_in_use", "idempotency_key_reused")
_CONDITION = ("if_match_missing", "if_match_failed")

_KEY_HEADER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": True,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    "description": "Chosen by the caller, anew for each change; the same request again is answered as before.",
}
_TAG = {"type": "string", "pattern": '^"[A-Za-z0-9_-]{22}"$'}
_IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "required": True,
    "schema": {"type": "string", "minLength": 3, "maxLength": 1024, "pattern": "^[!-~]+$"},
    "description": "The ETag of what is changed, as it was read.",
}
_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "maxLength": 1024, "pattern": "^[!-~]*$"},
    "description": "The ETag of what the caller has; 304 where it is that still.",
}


class ProblemField(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One field that is wrong."""

    field: str
    message: str


class ProblemDetails(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """RFC 9457, with a stable ``code``."""

    type: str
    title: str
    status: int
    code: str
    detail: str = ""
    errors: list[ProblemField] = []


def document(settings: Settings, routes: Sequence[Route]) -> bytes:
    """The document as JSON."""
    operations = [operation for route in routes for operation in route.operations.values()]
    bodies = _types(operation.body for operation in operations)
    queries = _types(operation.query for operation in operations)
    answers = _types(answer for operation in operations for answer in operation.answers.values())
    schemas: dict[str, Any] = {}
    found, components = msgspec.json.schema_components([*bodies, *answers, ProblemDetails], ref_template=_REFERENCE)
    named = dict(zip([*bodies, *answers, ProblemDetails], found, strict=True))
    schemas.update(components)
    _as_encoded(schemas)
    for schema in schemas.values():
        if "properties" in schema:  # what an answer does not declare it does not have
            schema.setdefault("additionalProperties", False)
    parameters = {query: _query_parameters(query) for query in queries}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        for method, operation in route.operations.items():
            described = _operation(route, method, operation, named, parameters, body_max_bytes=settings.body_max_bytes)
            paths.setdefault(route.path, {})[method] = described
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "RestartiX Core API",
                "version": "1",
                "description": "Clinical truth: plans, treatment sessions, consent, dashboards and replays.",
            },
            "paths": paths,
            "components": {
                "schemas": schemas,
                "securitySchemes": {"identity": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
            },
        }
    )


def _types(found: Iterable[Any]) -> list[Any]:
    """Each type once, in order, without None. A type need not be hashable by value to be the same."""
    return list({id(each): each for each in found if each is not None}.values())


def _query_parameters(query: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - a struct type
    _, components = msgspec.json.schema_components([query], ref_template=_REFERENCE)
    schema = components[query.__name__]
    required = set(schema.get("required", ()))
    return [
        {"name": name, "in": "query", "required": name in required, "schema": _without_null(each)}
        for name, each in schema["properties"].items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A query string has no null: a parameter that may be left out is left out."""
    some = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    if not some:
        return schema
    rest = {name: value for name, value in schema.items() if name not in ("anyOf", "default")}
    return {**rest, **(some[0] if len(some) == 1 else {"anyOf": some})}


def _operation(
    route: Route,
    method: str,
    operation: Operation,
    named: dict[Any, dict[str, Any]],
    queries: dict[Any, list[dict[str, Any]]],
    *,
    body_max_bytes: int,
) -> dict[str, Any]:
    has_key = method == "post" and operation.has_key
    parameters = [_path_parameter(name) for name in re.findall(r"{(\w+)}", route.path)]
    parameters += queries.get(operation.query, [])
    if has_key:
        parameters.append(_KEY_HEADER)
    if operation.is_conditional:
        parameters.append(_IF_MATCH)
    if operation.is_tagged and method == "get":
        parameters.append(_IF_NONE_MATCH)
    described: dict[str, Any] = {
        "operationId": _operation_id(route.path, method),
        "summary": operation.summary,
        "parameters": parameters,
        "responses": {
            **{str(status): _answer(operation, status, shape, named) for status, shape in operation.answers.items()},
            **_not_modified(operation, method),
            **_refusals(_codes(operation, has_key=has_key), named[ProblemDetails]),
        },
    }
    if operation.description:
        described["description"] = operation.description
    if operation.roles:
        described["security"] = [{"identity": []}]
        described["x-roles"] = list(operation.roles)
    if operation.body is not None:
        described["requestBody"] = {
            "required": any(_is_required(field) for field in msgspec.structs.fields(operation.body)),
            "description": f"At most {body_max_bytes} bytes.",
            "content": {_JSON: {"schema": named[operation.body]}},
        }
    return described


def _is_required(field: msgspec.structs.FieldInfo) -> bool:
    return field.required


def _path_parameter(name: str) -> dict[str, Any]:
    key = {"type": "integer", "minimum": 1, "maximum": BIGINT_MAX}
    schema = {"type": "string", "format": "uuid"} if name == "session_id" else key
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _operation_id(path: str, method: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "_", path.removeprefix("/v1").lower()).strip("_")
    return f"{method}_{words}"


def _answer(operation: Operation, status: int, shape: Any, named: dict[Any, dict[str, Any]]) -> dict[str, Any]:  # noqa: ANN401
    answer: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if shape is not None:
        schema = named[shape] if operation.media_type == _JSON else {}
        answer["content"] = {operation.media_type: {"schema": schema} if schema else {}}
    if operation.is_tagged:
        answer["headers"] = {"ETag": {"required": True, "schema": _TAG}}
    return answer


def _not_modified(operation: Operation, method: str) -> dict[str, Any]:
    if not (operation.is_tagged and method == "get"):
        return {}
    return {"304": {"description": "Not modified", "headers": {"ETag": {"required": True, "schema": _TAG}}}}


def _codes(operation: Operation, *, has_key: bool) -> list[str]:
    codes = [*_FALCON, *operation.refusals]
    if operation.roles:
        codes += [*_TOKEN, *_DATABASE]
    if operation.body is not None:
        codes += _BODY
    if operation.query is not None:
        codes += ["invalid_parameter"]
        codes += ["cursor_invalid"] if "cursor" in operation.query.__struct_fields__ else []
    if has_key:
        codes += _KEY
    if operation.is_conditional:
        codes += _CONDITION
    return list(dict.fromkeys(codes))


def _refusals(codes: Sequence[str], problem: dict[str, Any]) -> dict[str, Any]:
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(REFUSALS[code].status, []).append(code)
    return {str(status): _refusal(status, by_status[status], problem) for status in sorted(by_status)}


def _refusal(status: int, codes: list[str], problem: dict[str, Any]) -> dict[str, Any]:
    narrowed = {"properties": {"status": {"const": status}, "code": {"enum": codes}}}
    refusals = [REFUSALS[code] for code in codes]
    meanings = "; ".join(f"{code}: {refusal.meaning}" for code, refusal in zip(codes, refusals, strict=True))
    answer: dict[str, Any] = {
        "description": f"{HTTPStatus(status).phrase}. {meanings}",
        "content": {MEDIA_TYPE: {"schema": {"allOf": [problem, narrowed]}}},
    }
    if any(refusal.retry for refusal in refusals):
        always = all(refusal.retry for refusal in refusals)
        answer["headers"] = {"Retry-After": {"required": always, "schema": {"type": "integer", "minimum": 1}}}
    return answer


def _as_encoded(node: Any) -> None:  # noqa: ANN401 - any JSON
    """Decimals as answers have them, numbers, in place: msgspec's schema takes its own default for granted."""
    if isinstance(node, dict):
        if node.get("format") == "decimal":
            node.clear()
            node["type"] = "number"
        for value in node.values():
            _as_encoded(value)
    elif isinstance(node, list):
        for value in node:
            _as_encoded(value)
