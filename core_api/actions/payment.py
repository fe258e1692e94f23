"""What was paid for a patient's plan, as it was sold: an append-only record."""

from __future__ import annotations

from datetime import datetime

from core_api import access, audit
from core_api.database import Row, Tx, the
from core_api.errors import Problem
from core_api.identity import Actor

ENTITY = "core.service_plan_payments"


def record_payment(
    tx: Tx, actor: Actor, author: audit.Author, *, plan_id: int, amount_cents: int, now: datetime
) -> Row:
    """Raises ``Problem`` 404, or 409 for a plan that was not sold as a service plan."""
    plan = access.plan(tx, actor, plan_id, lock=True)
    if plan["service_plan_id"] is None:
        raise Problem(409, "plan_not_sold", "the plan was assigned without a service plan")
    values = {
        "organisation_id": actor.organisation_id,
        "patient_treatment_plan_id": plan_id,
        "service_plan_id": plan["service_plan_id"],
        "amount": amount_cents,
        "now": now,
    }
    made = the(tx, "insert_payment", values)
    audit.record(tx, author, "payment.create", ENTITY, made["id"], patient_treatment_plan_id=plan_id)
    return made
