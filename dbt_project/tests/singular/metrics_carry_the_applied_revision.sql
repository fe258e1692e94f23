-- What is shown is the revision the subscriber says it applied, never an older one beside it.
{{ config(meta={'dagster': {'ref': {'name': 'stg_telemetry__pose_session_metrics'}}}) }}

select sessions.session_id, sessions.applied_revision, metrics.revision
from {{ ref('stg_telemetry__sessions') }} as sessions
inner join (
  select session_id, revision from {{ ref('stg_telemetry__pose_session_metrics') }}
  union
  select session_id, revision from {{ ref('stg_telemetry__media_session_metrics') }}
) as metrics using (session_id)
where metrics.revision <> sessions.applied_revision
