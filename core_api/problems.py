"""Every refusal the Core API makes: its code, its one status, and what it means. Nothing here raises one.

A code is stable and public. The OpenAPI document and its test, and the test of ``docs/core-api.md``, read this table;
one that is missing here fails them.
"""

from __future__ import annotations

from typing import NamedTuple

MEDIA_TYPE = "application/problem+json"


class Refusal(NamedTuple):
    """A code's one status and meaning; ``retry``: it comes with ``Retry-After``."""

    status: int
    meaning: str
    retry: bool = False


REFUSALS = {
    "bad_request": Refusal(400, "a malformed request line, header or path"),
    "malformed_json": Refusal(400, "the body is not readable JSON"),
    "cursor_invalid": Refusal(400, "the cursor is not one this list gave"),
    "idempotency_key_missing": Refusal(400, "a POST needs the header Idempotency-Key, 1 to 255 visible characters"),
    "token_missing": Refusal(401, "no bearer token"),
    "token_invalid": Refusal(401, "the token cannot be verified"),
    "token_expired": Refusal(401, "the token has expired"),
    "role_not_allowed": Refusal(403, "this role may not"),
    "backdating_not_allowed": Refusal(422, "times are set by the service"),
    "not_found": Refusal(404, "no such route"),
    "patient_not_found": Refusal(404, "no such patient"),
    "erasure_not_found": Refusal(404, "no such erasure"),
    "exercise_not_found": Refusal(404, "no such exercise, or not part of this treatment session"),
    "service_plan_not_found": Refusal(404, "no such service plan"),
    "specialist_not_found": Refusal(404, "no such specialist"),
    "form_template_not_found": Refusal(404, "no such form template"),
    "treatment_plan_not_found": Refusal(404, "no such treatment plan"),
    "patient_treatment_plan_not_found": Refusal(404, "no such plan of a patient"),
    "treatment_session_not_found": Refusal(404, "no such treatment session"),
    "session_not_found": Refusal(404, "no such exercise session"),
    "replay_not_found": Refusal(404, "the session never had a replay"),
    "reference_session_not_found": Refusal(404, "the session is not its patient's reference"),
    "replay_stretch_not_found": Refusal(404, "the session has no such repetition, or no frame in that stretch"),
    "organisation_not_found": Refusal(404, "no such organisation"),
    "method_not_allowed": Refusal(405, "the route knows other methods"),
    "plan_not_active": Refusal(409, "the plan is completed, expired or cancelled"),
    "erasure_open": Refusal(409, "the patient's erasure was asked for; nothing new is begun"),
    "session_not_in_progress": Refusal(409, "the treatment session is completed or skipped"),
    "treatment_plan_in_use": Refusal(409, "the plan has been assigned; what it prescribes no longer changes"),
    "form_template_superseded": Refusal(409, "the form has a later version; make the next one of that"),
    "plan_not_sold": Refusal(409, "the plan was assigned without a service plan"),
    "already_exists": Refusal(409, "there is one of this name or principal already"),
    "session_is_reference": Refusal(409, "the session is its patient's reference; take that mark off first"),
    "session_not_usable": Refusal(409, "the session has no finalised result"),
    "confirmation_needed": Refusal(409, "this deletes the replay; say so with confirm=delete-replay"),
    "replay_not_ready": Refusal(409, "the session is not finalised yet", True),
    "idempotency_key_in_use": Refusal(409, "a request with this key is still running", True),
    "replay_gone": Refusal(410, "the session's replay has expired or was deleted"),
    "if_match_failed": Refusal(412, "the resource has changed since its ETag was read"),
    "if_match_missing": Refusal(428, "a change needs the header If-Match with the ETag that was read"),
    "body_too_large": Refusal(413, "more bytes than are taken"),
    "unsupported_media_type": Refusal(415, "another Content-Type"),
    "invalid_body": Refusal(422, "the body breaks its schema; errors name the field"),
    "invalid_parameter": Refusal(422, "a query parameter is unknown or breaks its schema"),
    "invalid_value": Refusal(422, "a value is outside what can be stored"),
    "idempotency_key_reused": Refusal(422, "the key came with another request before"),
    "time_out_of_range": Refusal(422, "a time or day outside what is possible"),
    "time_zone_unknown": Refusal(422, "not an IANA time zone"),
    "exercise_not_in_plan": Refusal(422, "a reported exercise is not part of the treatment session"),
    "reference_not_found": Refusal(422, "the body refers to something that is not there"),
    "exercise_not_comparable": Refusal(422, "the exercise is held, or has no movement that repetitions are counted in"),
    "too_few_repetitions": Refusal(422, "a reference needs three counted repetitions at least"),
    "session_too_long": Refusal(422, "the session has more frames than a reference is learnt from"),
    "database_unavailable": Refusal(503, "the database did not answer in time", True),
    "identity_unavailable": Refusal(503, "the identity provider's keys cannot be read", True),
    "no_ingest_node": Refusal(503, "no ingest node is ready", True),
    "not_built_yet": Refusal(503, "the nightly figures have not been built yet", True),
    "console_not_configured": Refusal(503, "this service was given no login for the console's figures", True),
    "busy_computing": Refusal(503, "other sessions' replays are being read", True),
    "replay_store_unavailable": Refusal(503, "the store of replays does not answer", True),
    "not_ready": Refusal(503, "the database does not answer", True),
}
