"""What happens to a history night by night: sittings come on their day, results up to three days later, plans end, and
what the marts already hold is revised, moved to another time zone, erased, or dropped with its partition.

Belongs here: changes of the sources, in the order of nights. Not dbt.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import psycopg

from tests.dbt.history import AS_OF, CUT

Connection = psycopg.Connection[Any]

NIGHTS = tuple(AS_OF - dt.timedelta(days=days) for days in range(6, -1, -1))
# Children last, so that the reverse order deletes.
CLINICAL = ("core.patient_session_completions", "core.patient_exercise_logs", "telemetry.sessions")
RESULTS = ("telemetry.pose_session_metrics", "telemetry.pose_rep_metrics", "telemetry.media_session_metrics")
COUNTERS = b"""
    update core.patient_treatment_plans p set sessions_completed = found.completed, sessions_skipped = found.skipped
    from (
      select p.id, count(*) filter (where s.status = 'completed') as completed,
             count(*) filter (where s.status = 'skipped') as skipped
      from core.patient_treatment_plans p
      left join core.patient_session_completions s on s.patient_treatment_plan_id = p.id
      group by p.id
    ) as found
    where found.id = p.id
      and (p.sessions_completed, p.sessions_skipped) is distinct from (found.completed, found.skipped)
"""
# A session's results wait 0 to 3 days, by a byte of its id (doubled: psycopg reads the percent sign).
WAIT = "make_interval(days => get_byte(uuid_send(session_id), 15) %% 4)"


def hold_back(connection: Connection) -> None:
    """Take what comes after the cut out of the database, and let plans that end later run."""
    for table in (*CLINICAL, *RESULTS):
        _do(connection, f"create table {_held(table)} as select * from {table} where started_at >= %s", CUT)
    for table in (*reversed(RESULTS), *reversed(CLINICAL)):
        assert _do(connection, f"delete from {table} where started_at >= %s", CUT) > 0, table
    _do(
        connection,
        "create table held_ends as select id, status, ended_at from core.patient_treatment_plans where ended_at >= %s",
        CUT,
    )
    running = "update core.patient_treatment_plans p set status = 'active', ended_at = null from held_ends h"
    assert _do(connection, f"{running} where h.id = p.id") > 0
    connection.execute(COUNTERS)


def arrive(connection: Connection, night: dt.datetime) -> None:
    """What has come by `night` and was not there before; on the last night everything."""
    last = night == NIGHTS[-1]
    for table in CLINICAL:
        _move(connection, table, "started_at <= %s", night)
    for table in RESULTS:
        _move(connection, table, f"started_at + {WAIT} <= %s" if not last else "started_at <= %s", night)
    _do(
        connection,
        """
        update core.patient_treatment_plans p set status = h.status, ended_at = h.ended_at
        from held_ends h where h.id = p.id and h.ended_at <= %s and p.ended_at is null
        """,
        night,
    )
    connection.execute(COUNTERS)


def revise(connection: Connection) -> None:
    """A second result of sessions long in the marts: other figures and one view fewer, or no view at all."""
    sessions = _old_sessions(connection, 0, 6)
    revised, unseen = sessions[:3], sessions[3:]
    _do(
        connection,
        "update telemetry.sessions set revision = 2, applied_revision = 2, applied_at = %s where session_id = any(%s)",
        AS_OF,
        sessions,
    )
    _do(
        connection,
        """
        update telemetry.pose_session_metrics
        set revision = 2, rep_count = rep_count + 3, average_form_score = 50, rom_mean_deg = 77.5, applied_at = %s
        where session_id = any(%s)
        """,
        AS_OF,
        sessions,
    )
    # As the subscriber does: all rows of the session are replaced in the transaction that replaces its row.
    _do(connection, "delete from telemetry.pose_rep_metrics where session_id = any(%s) and rep_number > 1", sessions)
    _do(
        connection,
        """
        delete from telemetry.media_session_metrics
        where session_id = any(%s) and (ordinal > 1 or session_id = any(%s))
        """,
        sessions,
        unseen,
    )
    _do(
        connection,
        """
        update telemetry.media_session_metrics set revision = 2, stall_ms = 1, applied_at = %s
        where session_id = any(%s)
        """,
        AS_OF,
        revised,
    )


def erase(connection: Connection) -> None:
    """Media rows of some sessions go, as by erasure; some sessions go wholly; a sitting goes with all it has."""
    sessions = _old_sessions(connection, 6, 12)
    _do(connection, "delete from telemetry.media_session_metrics where session_id = any(%s)", sessions)
    for table in ("telemetry.pose_rep_metrics", "telemetry.pose_session_metrics", "telemetry.sessions"):
        _do(connection, f"delete from {table} where session_id = any(%s)", sessions[3:])
    row = connection.execute(
        """
        select s.id, array_agg(l.id) from core.patient_session_completions s
        join core.patient_exercise_logs l on l.session_completion_id = s.id
        where s.started_at < %s group by s.id order by s.id limit 1
        """,
        [CUT],
    ).fetchone()
    assert row is not None
    sitting, logs = row
    gone = "session_id in (select session_id from telemetry.sessions where patient_exercise_log_id = any(%s))"
    for table in reversed(RESULTS):
        _do(connection, f"delete from {table} where {gone}", logs)
    _do(connection, "delete from telemetry.sessions where patient_exercise_log_id = any(%s)", logs)
    _do(connection, "delete from core.patient_exercise_logs where id = any(%s)", logs)
    _do(connection, "delete from core.patient_session_completions where id = %s", sitting)
    connection.execute(COUNTERS)


def move(connection: Connection) -> None:
    """A patient to the other side of the world, an exercise to another movement profile, a plan to another day."""
    patients = (
        "update core.patients set time_zone = 'Pacific/Kiritimati' where id = (select min(id) from core.patients)"
    )
    assert _do(connection, patients) == 1
    exercises = "update core.exercises set movement_profile = 'lunge' where id = (select min(id) from core.exercises)"
    assert _do(connection, exercises) == 1
    plans = """
        update core.patient_treatment_plans set started_on = started_on - 40
        where id = (select min(id) from core.patient_treatment_plans where status = 'completed')
    """
    assert _do(connection, plans) == 1


def drop_month(connection: Connection) -> None:
    """The oldest month of the media, as retention drops it; that of the repetitions, as a person detaches it."""
    assert _do(connection, "select 1 from telemetry.media_session_metrics_202602") > 0
    connection.execute("drop table telemetry.media_session_metrics_202602")
    assert _do(connection, "select 1 from telemetry.pose_rep_metrics_202602") > 0
    connection.execute("alter table telemetry.pose_rep_metrics detach partition telemetry.pose_rep_metrics_202602")


CHANGES: dict[int, Callable[[Connection], None]] = {1: revise, 2: erase, 3: move, 4: drop_month}


def _old_sessions(connection: Connection, first: int, last: int) -> list[Any]:
    rows = connection.execute(
        """
        select p.session_id from telemetry.pose_session_metrics p
        where p.started_at between '2026-03-01' and %s
          and p.session_id in (select m.session_id from telemetry.media_session_metrics m)
          and p.rep_count > 1
        order by p.started_at, p.session_id offset %s limit %s
        """,
        [CUT, first, last - first],
    ).fetchall()
    assert len(rows) == last - first
    return [session_id for (session_id,) in rows]


def _move(connection: Connection, table: str, condition: str, night: dt.datetime) -> None:
    come = f"delete from {_held(table)} where {condition} returning *"
    _do(connection, f"with come as ({come}) insert into {table} select * from come", night)


def _held(table: str) -> str:
    return f"held_{table.split('.')[1]}"


def _do(connection: Connection, statement: str, *values: object) -> int:
    return connection.execute(statement.encode(), values).rowcount
