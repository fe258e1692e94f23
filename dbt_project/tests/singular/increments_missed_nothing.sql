-- A session's newest revision is in the incremental tables, unless its change is still to be read.
{{ config(group='analytics', meta={'dagster': {'ref': {'name': 'int_pose_sessions'}}}) }}

with

applied_pose as (
  select session_id, started_at, revision
  from {{ ref('stg_telemetry__pose_session_metrics') }}
  where {{ recent('started_at') }}
),

held_pose as (
  select session_id, started_at, revision
  from {{ ref('int_pose_sessions') }}
  where {{ recent('started_at') }}
),

applied_media as (
  select session_id, view_ordinal, revision
  from {{ ref('stg_telemetry__media_session_metrics') }}
  where {{ recent('started_at') }}
),

held_media as (
  select session_id, view_ordinal, revision
  from {{ ref('fct_media_views') }}
  where {{ recent('started_at') }}
),

missed as (
  select 'pose' as kind, applied_pose.session_id, applied_pose.revision
  from applied_pose
  left join held_pose using (session_id, revision)
  where held_pose.session_id is null
  union all
  select 'media' as kind, applied_media.session_id, applied_media.revision
  from applied_media
  left join held_media using (session_id, view_ordinal, revision)
  where held_media.session_id is null
  union all
  select 'held and gone' as kind, held_pose.session_id, held_pose.revision
  from held_pose
  left join applied_pose using (session_id, started_at)
  where applied_pose.session_id is null
)

select missed.*
from missed
left join {{ ref('stg_core__row_changes') }} as pending using (session_id)
where pending.session_id is null
