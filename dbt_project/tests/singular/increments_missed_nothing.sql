-- What was applied an hour or more before the run is in the incremental tables, in its newest revision.
{{ config(meta={'dagster': {'ref': {'name': 'int_pose_sessions'}}}) }}

select 'pose' as kind, applied.session_id, applied.revision
from {{ ref('stg_telemetry__pose_session_metrics') }} as applied
left join {{ ref('int_pose_sessions') }} as held using (session_id, revision)
where held.session_id is null and applied.applied_at < {{ as_of() }} - interval '1 hour'
union all
select 'media', applied.session_id, applied.revision
from {{ ref('stg_telemetry__media_session_metrics') }} as applied
left join {{ ref('int_media_views') }} as held using (session_id, view_ordinal, revision)
where held.session_id is null and applied.applied_at < {{ as_of() }} - interval '1 hour'
