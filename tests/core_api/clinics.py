"""What the Core API's tests are made of: a clock, clinics, and the app called as somebody. No fixtures."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import falcon.testing
from psycopg import Connection
from psycopg.rows import DictRow
from psycopg_pool import ConnectionPool

from core_api.actions.exercise_session import SessionMaker
from core_api.database import Database
from core_api.deps import Deps
from core_api.encryption import ColumnCipher
from core_api.identity import IdentityVerifier
from core_api.jwks import KeySet, reader
from core_api.provision import (
    ExerciseSpec,
    FormTemplateSpec,
    PatientPlanSpec,
    PatientSpec,
    PrescribedExerciseSpec,
    ProvisionedIds,
    ProvisionSpec,
    ServicePlanSpec,
    SpecialistSpec,
    TreatmentPlanSpec,
    provision,
)
from core_api.settings import Settings
from core_api.tokens import SigningKey
from infra.stack.keys import SigningKeys
from pipelines.adapters.memory.blob_store import MemoryBlobStore

NOW = datetime(2026, 3, 18, 10, 0, tzinfo=UTC)
PROFILE = '{"name": "deep_squat"}'
PORTAL = "https://portal.example"
TRANSITIONS = ("complete", "skip", "cancel", "versions")


@dataclass
class Clock:
    """The time the service is told."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **duration: float) -> None:
        self.now += timedelta(**duration)


@dataclass(frozen=True)
class Clinic:
    """One organisation with two patients, each with an active plan of three sessions a week."""

    name: str
    ids: ProvisionedIds
    patient: uuid.UUID
    other_patient: uuid.UUID
    specialist: uuid.UUID

    @property
    def organisation_id(self) -> int:
        return self.ids.organisation_id

    @property
    def plan_id(self) -> int:
        return self.ids.patient_plans[0]

    @property
    def other_plan_id(self) -> int:
        return self.ids.patient_plans[1]

    @property
    def patient_id(self) -> int:
        return self.ids.patients[self.patient]


def clinic_spec(name: str, sessions_total: int = 12, started_on: date = date(2026, 3, 9)) -> ProvisionSpec:
    """A clinic whose people have principal ids of their own."""
    patient, other, specialist = (uuid.uuid4() for _ in range(3))
    exercises = ("Quad Set", "Heel Slides", "Straight Leg Raise")
    return ProvisionSpec(
        organisation=name,
        service_plans=(ServicePlanSpec(name="Rehab", price_cents=19900, currency="EUR"),),
        exercises=tuple(
            ExerciseSpec(
                name=each, media_id=f"media-{number}", movement_profile=("deep_squat", "unheard_of")[number % 2]
            )
            for number, each in enumerate(exercises)
        ),
        treatment_plans=(
            TreatmentPlanSpec(
                name="Post-ACL Rehab",
                exercises=tuple(PrescribedExerciseSpec(exercise=each, sets=3, reps=10) for each in exercises),
            ),
        ),
        specialists=(SpecialistSpec(principal_id=specialist, full_name="Sam Specialist"),),
        patients=(
            PatientSpec(
                principal_id=patient, full_name="Jane Doe", time_zone="Europe/Bucharest", contact="jane@x.example"
            ),
            PatientSpec(principal_id=other, full_name="John Roe", time_zone="America/New_York"),
        ),
        patient_plans=tuple(
            PatientPlanSpec(
                patient=each,
                treatment_plan="Post-ACL Rehab",
                specialist=specialist,
                service_plan="Rehab",
                sessions_total=sessions_total,
                frequency_per_week=3,
                started_on=started_on,
                paid_cents=19900,
            )
            for each in (patient, other)
        ),
        form_templates=(FormTemplateSpec(name="After session", questions=({"id": "mood", "text": "How was it?"},)),),
    )


ApiFactory = Callable[..., "Api"]  # over Settings' fields


@dataclass
class Api:
    """The app, called as somebody."""

    client: falcon.testing.TestClient
    identity: SigningKeys
    deps: Deps
    clock: Clock
    admin: Connection[DictRow]
    node_ids: list[str] = field(default_factory=list)

    def token(self, principal: uuid.UUID, organisation_id: int, role: str, **changes: object) -> str:
        claims: dict[str, Any] = {
            "sub": str(principal),
            "org": organisation_id,
            "role": role,
            "aud": "core-api",
            "exp": datetime.now(UTC) + timedelta(hours=1),
            **changes,
        }
        return self.identity.mint({name: value for name, value in claims.items() if value is not None})

    def call(self, method: str, path: str, token: str | None = None, **options: Any) -> falcon.testing.Result:  # noqa: ANN401 - falcon's
        """As a well-behaved client: a POST has a new key, a change the ETag just read. ``headers`` says otherwise."""
        headers = dict(options.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if method == "POST":
            headers.setdefault("Idempotency-Key", str(uuid.uuid4()))
        resource, _, last = path.rpartition("/")
        if (last in TRANSITIONS or method == "PATCH") and "If-Match" not in headers and token is not None:
            headers["If-Match"] = self.tag(resource if last in TRANSITIONS else path, token)
        headers = {name: value for name, value in headers.items() if value is not None}
        return self.client.simulate_request(method, path, headers=headers, **options)

    def tag(self, path: str, token: str) -> str:
        """The ETag of a resource; one that nothing has where it cannot be read."""
        return str(self.call("GET", path, token).headers.get("etag", '"unread"'))

    def patient(self, clinic: Clinic) -> str:
        return self.token(clinic.patient, clinic.organisation_id, "patient")

    def specialist(self, clinic: Clinic) -> str:
        return self.token(clinic.specialist, clinic.organisation_id, "specialist")

    def console(self) -> str:
        return self.token(uuid.uuid4(), 0, "console", org=None)

    def manager(self, clinic: Clinic) -> str:
        return self.token(uuid.uuid4(), clinic.organisation_id, "manager")

    def rows(self, statement: str, *values: object) -> list[dict[str, Any]]:
        """Rows as the superuser sees them."""
        return self.admin.execute(statement.encode(), values).fetchall()

    def audited(self, organisation_id: int) -> list[tuple[str, str]]:
        """(action, entity id) of what people did, in order."""
        rows = self.rows(
            "select action, entity_id from core.audit_log where organisation_id = %s and actor_role <> 'provisioning'"
            " order by id",
            organisation_id,
        )
        return [(row["action"], row["entity_id"]) for row in rows]

    def add_node(self, node_id: str = "node-a", *, ready: bool = True, lease_s: int = 3600) -> None:
        self.admin.execute(
            "select telemetry.renew_node_lease(%s, %s, %s, %s)", (node_id, f"http://{node_id}.example", ready, lease_s)
        )


def make_clinic(connection: Connection[DictRow], cipher: ColumnCipher, spec: ProvisionSpec) -> Clinic:
    ids = provision(connection, spec, cipher=cipher, now=NOW)
    first, second = (each.principal_id for each in spec.patients)
    return Clinic(spec.organisation, ids, first, second, spec.specialists[0].principal_id)


def make_settings(**changes: object) -> Settings:
    settings = Settings(
        database_url="unused",
        session_signing_key="unused",
        identity_jwks="unused",
        key_file="unused",
        portal_origins=(PORTAL,),
        allow_backdated_starts=True,
    )
    return replace(settings, **changes)  # type: ignore[arg-type]


def make_deps(
    pool: ConnectionPool[Connection[DictRow]],
    cipher: ColumnCipher,
    clock: Clock,
    session_keys: SigningKeys,
    identity: SigningKeys,
    **settings: object,
) -> Deps:
    """Everything the app needs, over a real Postgres; blobs in memory."""
    return Deps(
        settings=make_settings(**settings),
        database=Database(pool),
        verifier=IdentityVerifier(KeySet(reader(str(identity.jwks_path)), lambda: 0.0)),
        sessions=SessionMaker(
            signing_key=SigningKey.from_pem(session_keys.pem_path.read_bytes()),
            token_issuer="restartix-core-api",
            profile_json=lambda name: PROFILE if name == "deep_squat" else None,
            new_session_id=uuid.uuid4,
        ),
        cipher=cipher,
        blobs=MemoryBlobStore(),
        now=clock,
    )
