"""A clinic's catalogue: exercises, treatment plans, service plans and form templates. Made and changed by staff.

A representation is what a GET answers, what an ETag is of, and what a change is checked against under its lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from psycopg import errors
from psycopg.types.json import Jsonb

from core_api import audit, conditional
from core_api.bodies import (
    ChangeExercise,
    ChangeServicePlan,
    ChangeTreatmentPlan,
    NewFormVersion,
    PrescribedExercise,
)
from core_api.database import Row, Tx, every, one, run, the
from core_api.errors import Problem, not_found
from core_api.identity import Actor


def create(tx: Tx, actor: Actor, author: audit.Author, what: str, *, values: Row, now: datetime) -> int:
    """A new row of ``core.<what>s``; its id. Raises ``Problem`` 409 where there is one of this name already."""
    try:
        made = the(tx, f"insert_{what}", {**values, "organisation_id": actor.organisation_id, "now": now})
    except errors.UniqueViolation:
        raise taken(what) from None
    audit.record(tx, author, f"{what}.create", f"core.{what}s", made["id"])
    return int(made["id"])


def taken(what: str) -> Problem:
    return Problem(409, "already_exists", f"this {what.replace('_', ' ')} is there already")


def exercise(tx: Tx, exercise_id: int) -> Row:
    """Raises ``Problem`` 404."""
    row = one(tx, "exercise", {"exercise_id": exercise_id})
    if row is None:
        raise not_found("exercise")
    return row


def change_exercise(tx: Tx, author: audit.Author, exercise_id: int, body: ChangeExercise, if_match: str) -> Row:
    """Raises ``Problem`` 404, 409 or 412. Sessions that were started keep the profile they froze."""
    row = one(tx, "exercise_locked", {"exercise_id": exercise_id})
    if row is None:
        raise not_found("exercise")
    conditional.check(if_match, row)
    changed = {**row, **_given(body)}
    try:
        run(tx, "change_exercise", changed)
    except errors.UniqueViolation:
        raise taken("exercise") from None
    audit.record(tx, author, "exercise.change", "core.exercises", exercise_id, fields=sorted(_given(body)))
    return changed


def service_plan(tx: Tx, service_plan_id: int) -> Row:
    """Raises ``Problem`` 404."""
    row = one(tx, "service_plan", {"service_plan_id": service_plan_id})
    if row is None:
        raise not_found("service_plan")
    return row


def change_service_plan(
    tx: Tx, author: audit.Author, service_plan_id: int, body: ChangeServicePlan, if_match: str
) -> Row:
    """Raises ``Problem`` 404 or 412. What was paid so far keeps its amount."""
    row = one(tx, "service_plan_locked", {"service_plan_id": service_plan_id})
    if row is None:
        raise not_found("service_plan")
    conditional.check(if_match, row)
    changed = {**row, **_given(body)}
    run(tx, "change_service_plan", changed)
    audit.record(tx, author, "service_plan.change", "core.service_plans", service_plan_id, fields=sorted(_given(body)))
    return changed


def treatment_plan(tx: Tx, treatment_plan_id: int) -> Row:
    """The plan with what it prescribes, in order. Raises ``Problem`` 404."""
    row = one(tx, "treatment_plan", {"treatment_plan_id": treatment_plan_id})
    if row is None:
        raise not_found("treatment_plan")
    return {**row, "exercises": every(tx, "prescribed_exercises", {"treatment_plan_id": treatment_plan_id})}


def create_treatment_plan(
    tx: Tx, actor: Actor, author: audit.Author, name: str, *, exercises: Sequence[PrescribedExercise], now: datetime
) -> Row:
    """Raises ``Problem`` 422 for an exercise that is not the organisation's."""
    plan_id = create(tx, actor, author, "treatment_plan", values={"name": name}, now=now)
    _prescribe(tx, actor, plan_id, exercises)
    return treatment_plan(tx, plan_id)


def change_treatment_plan(
    tx: Tx, actor: Actor, author: audit.Author, treatment_plan_id: int, *, body: ChangeTreatmentPlan, if_match: str
) -> Row:
    """Raises ``Problem`` 404, 409 (assigned: what it prescribes is what patients were given), 412 or 422."""
    scope = {"treatment_plan_id": treatment_plan_id}
    if one(tx, "treatment_plan_locked", scope) is None:
        raise not_found("treatment_plan")
    conditional.check(if_match, treatment_plan(tx, treatment_plan_id))
    if body.exercises is not msgspec.UNSET:
        if the(tx, "treatment_plan_is_assigned", scope)["is_assigned"]:
            raise Problem(409, "treatment_plan_in_use", "the plan has been assigned; make another one")
        run(tx, "delete_treatment_plan_exercises", scope)
        _prescribe(tx, actor, treatment_plan_id, body.exercises)
    if body.name is not msgspec.UNSET:
        run(tx, "rename_treatment_plan", {**scope, "name": body.name})
    fields = sorted(_given(body))
    audit.record(tx, author, "treatment_plan.change", "core.treatment_plans", treatment_plan_id, fields=fields)
    return treatment_plan(tx, treatment_plan_id)


def form_template(tx: Tx, form_template_id: int) -> Row:
    """One version of a form. Raises ``Problem`` 404."""
    row = one(tx, "form_template_version", {"form_template_id": form_template_id})
    if row is None:
        raise not_found("form_template")
    return row


def create_form_template(
    tx: Tx, actor: Actor, author: audit.Author, values: Row, *, questions: Sequence[dict[str, Any]], now: datetime
) -> Row:
    """Raises ``Problem`` 409 for a version that is there already."""
    sealed = {**values, "questions": Jsonb(list(questions))}
    return form_template(tx, create(tx, actor, author, "form_template", values=sealed, now=now))


def create_form_version(
    tx: Tx,
    actor: Actor,
    author: audit.Author,
    form_template_id: int,
    *,
    body: NewFormVersion,
    if_match: str,
    now: datetime,
) -> Row:
    """The form's next version. The one before stays as it was: consents and answers refer to it.

    Raises ``Problem`` 404, 412, or 409 where it is not the form's newest version.
    """
    before = form_template(tx, form_template_id)
    conditional.check(if_match, before)
    if not before["is_newest"]:
        raise _superseded()
    said = _given(body)
    values = {
        "name": before["name"],
        "version": before["version"] + 1,
        "purpose": said.get("purpose", before["purpose"]),
    }
    questions = said["questions"] if "questions" in said else before["questions"]
    try:
        return create_form_template(tx, actor, author, values, questions=questions, now=now)
    except Problem as refused:
        if refused.problem_code == "already_exists":  # somebody made it since the look above
            raise _superseded() from None
        raise


def _superseded() -> Problem:
    return Problem(409, "form_template_superseded", "the form has a later version; make the next one of that")


def _prescribe(tx: Tx, actor: Actor, plan_id: int, exercises: Sequence[PrescribedExercise]) -> None:
    values = {
        "organisation_id": actor.organisation_id,
        "treatment_plan_id": plan_id,
        "exercise_ids": [each.exercise_id for each in exercises],
        "prescribed_sets": [each.prescribed_sets for each in exercises],
        "prescribed_reps": [each.prescribed_reps for each in exercises],
        "sides": [each.side for each in exercises],
        "target_low_deg": [each.target_low_deg for each in exercises],
        "target_high_deg": [each.target_high_deg for each in exercises],
        "hold_ms": [each.hold_ms for each in exercises],
    }
    made = {row["exercise_id"] for row in every(tx, "insert_treatment_plan_exercises", values)}
    for number, each in enumerate(exercises):
        if each.exercise_id not in made:
            raise reference_missing(f"exercises[{number}].exercise_id", "exercise")


def reference_missing(field: str, what: str) -> Problem:
    """The body names something that is not there, or is another organisation's: the two look the same."""
    message = f"no such {what}"
    return Problem(422, "reference_not_found", f"{field}: {message}", errors=[{"field": field, "message": message}])


def _given(body: msgspec.Struct) -> Row:
    """The fields a change says; the others stay."""
    return {name: value for name, value in msgspec.structs.asdict(body).items() if value is not msgspec.UNSET}
