-- A session's newest revision is in the incremental tables, unless its change is still to be read.
{{ config(group='analytics', meta={'dagster': {'ref': {'name': 'int_pose_sessions'}}}) }}

with

missed as (
  select 'pose' as kind, applied.session_id, applied.revision
  from {{ ref('stg_telemetry__pose_session_metrics') }} as applied
  left join {{ ref('int_pose_sessions') }} as held using (session_id, revision)
  where held.session_id is null and {{ recent('applied.started_at') }}
  union all
  select 'media' as kind, applied.session_id, applied.revision
  from {{ ref('stg_telemetry__media_session_metrics') }} as applied
  left join {{ ref('int_media_views') }} as held using (session_id, view_ordinal, revision)
  where held.session_id is null and {{ recent('applied.started_at') }}
  union all
  select 'held and gone' as kind, held.session_id, held.revision
  from {{ ref('int_pose_sessions') }} as held
  left join {{ ref('stg_telemetry__pose_session_metrics') }} as applied using (session_id, started_at)
  where applied.session_id is null and {{ recent('held.started_at') }}
)

select missed.*
from missed
left join {{ ref('stg_core__row_changes') }} as pending using (session_id)
where pending.session_id is null
