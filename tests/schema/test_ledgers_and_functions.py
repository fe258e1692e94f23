"""The consent ledger, the classification, and the functions the hot path may call."""

from __future__ import annotations

import datetime as dt
from uuid import UUID

import psycopg
import pytest

from infra.stack.throwaway import Database
from ingest_service.consent import news_key

CLASSIFIED = "^(public|internal|personal|clinical|biometric): .+"
SESSION = "10000000-0000-4000-8000-000000000001"
PRINCIPAL = "00000000-0000-4000-8000-000000000001"


def record_consent(connection: psycopg.Connection[tuple[object, ...]], *, granted: bool) -> None:
    connection.execute("SELECT set_config('app.org_id', '1', true)")
    connection.execute(
        "INSERT INTO core.consents (organisation_id, patient_id, purpose, granted, effective_at, recorded_by)"
        " VALUES (1, 1, 'biometric', %s, '1999-01-01', %s)",
        [granted, PRINCIPAL],
    )


def test_every_column_is_classified(database: Database) -> None:
    with psycopg.connect(database.admin_url) as connection:
        unclassified = connection.execute(
            "SELECT c.oid::regclass::text, a.attname FROM pg_class c"
            " JOIN pg_namespace n ON n.oid = c.relnamespace"
            " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
            " WHERE n.nspname IN ('core', 'telemetry', 'bus') AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
            " AND coalesce(col_description(c.oid, a.attnum), '') !~ %s",
            [CLASSIFIED],
        ).fetchall()
    assert unclassified == []


def test_the_ledger_takes_postgres_time_and_the_latest_row_is_the_state(two_clinics: Database) -> None:
    before = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=5)
    with psycopg.connect(two_clinics.url("core_api"), autocommit=True) as connection:
        for granted in (True, False):
            with connection.transaction():
                record_consent(connection, granted=granted)
    with psycopg.connect(two_clinics.url("ingest")) as connection:
        found = connection.execute(
            "SELECT purpose, granted, effective_at, withdrawn_at FROM core.consent_state(%s, %s::uuid[])",
            [[1, 2], [PRINCIPAL] * 2],
        ).fetchall()
    assert [(purpose, granted) for purpose, granted, _, _ in found] == [("biometric", False)]
    assert found[0][2] > before
    assert found[0][2] == found[0][3]


def test_the_same_said_again_does_not_move_the_moment_it_holds_from(two_clinics: Database) -> None:
    with psycopg.connect(two_clinics.url("core_api"), autocommit=True) as connection:
        for granted in (True, False, False, True, True):
            with connection.transaction():
                record_consent(connection, granted=granted)
    with psycopg.connect(two_clinics.admin_url) as connection:
        ledger = [at for (at,) in connection.execute("SELECT effective_at FROM core.consents ORDER BY id")]
        state = connection.execute(
            "SELECT granted, effective_at, withdrawn_at FROM core.consent_state(%s, %s::uuid[])",
            [[1, 1], [PRINCIPAL] * 2],
        ).fetchall()
    assert state == [(True, ledger[3], ledger[2])]


def test_the_ledger_cannot_be_rewritten(two_clinics: Database) -> None:
    with psycopg.connect(two_clinics.admin_url) as connection:
        record_consent(connection, granted=True)
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
            connection.execute("UPDATE core.consents SET granted = false")


def test_a_consent_is_announced_when_its_transaction_commits_to_who_knows_the_patient(two_clinics: Database) -> None:
    with (
        psycopg.connect(two_clinics.url("ingest"), autocommit=True) as listener,
        psycopg.connect(two_clinics.url("core_api")) as writer,
    ):
        listener.execute("LISTEN consent")
        record_consent(writer, granted=False)
        assert list(listener.notifies(timeout=0.1)) == []
        writer.commit()
        (heard,) = listener.notifies(timeout=5, stop_after=1)
    assert heard.payload == news_key((1, UUID(PRINCIPAL)))


def test_a_touch_never_moves_a_session_back_and_only_its_home_node_may_touch_it(two_clinics: Database) -> None:
    early, late = (dt.datetime(2026, 3, 1, 12, minute, tzinfo=dt.UTC) for minute in (0, 5))
    with psycopg.connect(two_clinics.url("ingest"), autocommit=True) as connection:
        for node, at in (("node-a", late), ("node-a", early), ("node-b", late + dt.timedelta(hours=1))):
            connection.execute("SELECT telemetry.touch_sessions(%s, %s::uuid[], %s)", [node, [SESSION], [at]])
    with psycopg.connect(two_clinics.admin_url) as connection:
        found = connection.execute(
            "SELECT last_received_at FROM telemetry.sessions WHERE session_id = %s", [SESSION]
        ).fetchone()
    assert found == (late,)


def ready_since(database: Database) -> dt.datetime | None:
    with psycopg.connect(database.admin_url) as connection:
        found = connection.execute("SELECT ready_since FROM telemetry.nodes WHERE node_id = 'node-a'").fetchone()
    assert found is not None
    return found[0]  # type: ignore[no-any-return]  # psycopg rows are untyped


def test_readiness_is_unbroken_only_while_the_lease_is_renewed_as_ready(two_clinics: Database) -> None:
    def renew(*, ready: bool, lease_s: int = 60) -> None:
        with psycopg.connect(two_clinics.url("ingest")) as connection:
            connection.execute(
                "SELECT telemetry.renew_node_lease('node-a', 'http://127.0.0.1:1', %s, %s)", [ready, lease_s]
            )

    renew(ready=True)
    first = ready_since(two_clinics)
    assert first is not None
    renew(ready=True)
    assert ready_since(two_clinics) == first
    renew(ready=False)
    assert ready_since(two_clinics) is None
    renew(ready=True, lease_s=0)
    second = ready_since(two_clinics)
    assert second is not None
    assert second > first
    renew(ready=True)
    assert ready_since(two_clinics) != second, "the lease had lapsed, so readiness began anew"


def test_a_denial_is_one_audit_row_a_session_and_purpose(two_clinics: Database) -> None:
    with psycopg.connect(two_clinics.url("ingest"), autocommit=True) as connection:
        for _ in range(3):
            connection.execute(
                "SELECT telemetry.record_denial(1, %s, %s, 'biometric', 'consent_missing')", [PRINCIPAL, SESSION]
            )
    with psycopg.connect(two_clinics.admin_url) as connection:
        rows = connection.execute("SELECT action, session_id::text, purpose FROM core.audit_log").fetchall()
    assert rows == [("ingest.denied", SESSION, "biometric")]


def test_ending_a_session_happens_once_and_only_from_its_home_node(two_clinics: Database) -> None:
    at = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
    with psycopg.connect(two_clinics.url("ingest"), autocommit=True) as connection:
        answers = [
            connection.execute(
                "SELECT telemetry.end_session(%s, %s, 'consent_withdrawn', %s)", [node, SESSION, at]
            ).fetchone()
            for node in ("node-b", "node-a", "node-a")
        ]
    assert answers == [(False,), (True,), (False,)]
    with psycopg.connect(two_clinics.url("finaliser")) as connection:
        waiting = connection.execute(
            "SELECT session_id::text, organisation_id, end_reason FROM telemetry.sessions_to_finalise('node-a', 10)"
        ).fetchall()
    assert waiting == [(SESSION, 1, "consent_withdrawn")]
