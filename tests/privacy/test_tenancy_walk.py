"""Zero rows of another tenant, over everything the catalogue has: and the walk sees what is left open."""

from __future__ import annotations

import psycopg
import pytest

from infra.stack.throwaway import Database
from tests.privacy.tenancy import BOUND_ROLES, CROSSING_ROLES, THEIRS, fill, relations, walk

ORGANISATIONS = "INSERT INTO core.organisations (id, name) VALUES (1, 'Clinic one'), (2, 'Clinic two')"

# Every function a bound role may call that runs as its owner, and why it may cross: what it takes is ids its caller
# holds already, what it gives is ids, states and times, or it keeps to the transaction's tenant itself.
DEFINER_FUNCTIONS = {
    "ingest": {
        "core.consent_state", "telemetry.end_session", "telemetry.record_denial", "telemetry.renew_node_lease",
        "telemetry.touch_sessions",
    },
    "finaliser": {
        "telemetry.claim_lost_sessions", "telemetry.confirm_disk_clean", "telemetry.erasures_of_node",
        "telemetry.session_states", "telemetry.sessions_to_finalise", "telemetry.settled_safety_copies",
    },
    "subscriber": {
        "bus.claim", "bus.consumer_backlog", "bus.dead_letters", "bus.fail", "bus.replay_dead_letters", "bus.settle",
        "core.hold_sitting", "core.recount_exercises",
    },
    "core_api": {
        "core.audited_organisations", "core.provision_organisation", "core.request_erasure", "telemetry.forget_replay",
        "telemetry.live_nodes", "telemetry.retag_backlog", "telemetry.retags_due",
    },
    "analyst": set[str](),
    "console": set[str](),
}  # fmt: skip


@pytest.fixture
def filled(database: Database) -> Database:
    with psycopg.connect(database.admin_url) as connection:
        connection.execute(ORGANISATIONS)
    fill(database)
    return database


def test_no_role_sees_a_row_of_another_tenant_in_any_relation(filled: Database) -> None:
    with psycopg.connect(filled.admin_url) as connection:
        for relation in relations(filled):
            if relation.kind in "rp" and not relation.is_partition and relation.tenant_column is not None:
                query = f'SELECT count(*) FROM {relation} WHERE "{relation.tenant_column}" = %s'
                row = connection.execute(query.encode(), [THEIRS]).fetchone()
                assert row is not None
                assert row[0] > 0, f"{relation} has no row that could leak"
    done = walk(filled)
    assert done.leaks == []
    assert done.relations > 130, "tables, and two years of monthly partitions"
    assert done.looks == done.relations * len(BOUND_ROLES)


@pytest.mark.parametrize(
    ("statement", "leak"),
    [
        ("CREATE TABLE core.fresh (organisation_id bigint)", "core.fresh has no forced row-level security"),
        (
            "CREATE TABLE core.fresh (organisation_id bigint); INSERT INTO core.fresh VALUES (2);"
            "GRANT SELECT ON core.fresh TO restartix_core_api",
            "core_api: sees 1 rows of core.fresh",
        ),
        (
            "CREATE VIEW analytics.fresh AS SELECT * FROM core.patients; GRANT SELECT ON analytics.fresh TO"
            " restartix_analyst",
            "analyst: sees 1 rows of analytics.fresh",
        ),
        (
            "CREATE POLICY wide ON core.patients TO restartix_finaliser USING (true)",
            "finaliser: sees 1 rows of core.patients",
        ),
        (
            "DO $$ BEGIN EXECUTE (SELECT format('CREATE POLICY wide ON %s USING (true); GRANT SELECT ON %s TO"
            " restartix_subscriber', c.oid::regclass, c.oid::regclass) FROM pg_class c WHERE c.relispartition AND"
            " c.relkind = 'r' AND c.oid = (SELECT tableoid FROM telemetry.pose_rep_metrics LIMIT 1)); END $$",
            "subscriber: sees 1 rows of telemetry.pose_rep_metrics_",
        ),
        ("ALTER TABLE core.forms NO FORCE ROW LEVEL SECURITY", "core.forms has no forced row-level security"),
    ],
)
def test_what_is_left_open_is_found(filled: Database, statement: str, leak: str) -> None:
    with psycopg.connect(filled.admin_url) as connection:
        connection.execute(statement.encode())
    assert any(found.startswith(leak) for found in walk(filled).leaks)


def test_who_may_cross_is_the_fixed_list_and_functions_that_do_are_named(database: Database) -> None:
    with psycopg.connect(database.admin_url) as connection:
        roles = connection.execute(
            "SELECT rolname, rolbypassrls OR rolsuper OR rolcanlogin FROM pg_roles WHERE rolname LIKE 'restartix\\_%'"
        ).fetchall()
        owners = connection.execute(
            "SELECT DISTINCT r.rolname FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner"
            " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname ~ '^(core|telemetry|bus|analytics)'"
        ).fetchall()
        wide = connection.execute(
            "SELECT DISTINCT r.rolname FROM pg_policy p, unnest(p.polroles) role JOIN pg_roles r ON r.oid = role"
            " WHERE pg_get_expr(p.polqual, p.polrelid) = 'true'"
        ).fetchall()
        functions = connection.execute(
            "SELECT r.rolname, n.nspname || '.' || p.proname"
            " FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
            " JOIN pg_roles r ON r.rolname = ANY (%s) AND has_function_privilege(r.oid, p.oid, 'EXECUTE')"
            " WHERE p.prosecdef AND p.prorettype <> 'trigger'::regtype AND n.nspname NOT LIKE 'pg\\_%%'",
            [[f"restartix_{role}" for role in BOUND_ROLES]],
        ).fetchall()
        public = connection.execute(
            "SELECT p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace, aclexplode(p.proacl) acl"
            " WHERE p.prosecdef AND acl.grantee = 0 AND n.nspname IN ('core', 'telemetry', 'bus')"
        ).fetchall()
    assert {name for name, _ in roles} == {f"restartix_{role}" for role in (*BOUND_ROLES, *CROSSING_ROLES)}
    assert [name for name, may_bypass in roles if may_bypass] == []
    assert {name for (name,) in owners} <= {"restartix_owner", "restartix_analytics_builder"}
    assert {name for (name,) in wide} <= {f"restartix_{role}" for role in CROSSING_ROLES}
    callable_by: dict[str, set[str]] = {role: set() for role in BOUND_ROLES}
    for role, function in functions:
        callable_by[role.removeprefix("restartix_")].add(function)
    assert callable_by == DEFINER_FUNCTIONS
    assert public == []
