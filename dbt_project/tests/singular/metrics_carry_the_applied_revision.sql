-- What is shown is the revision the subscriber says it applied, never an older one beside it.
{{ config(group='analytics', meta={'dagster': {'ref': {'name': 'stg_telemetry__pose_session_metrics'}}}) }}

select sessions.session_id, sessions.applied_revision, metrics.revision
from (
  select session_id, revision from {{ ref('stg_telemetry__pose_session_metrics') }}
  where {{ recent('started_at') }}
  union
  select session_id, revision from {{ ref('stg_telemetry__media_session_metrics') }}
  where {{ recent('started_at') }}
) as metrics
inner join {{ ref('stg_telemetry__sessions') }} as sessions using (session_id)
where metrics.revision <> sessions.applied_revision
