-- How the video of an exercise played, against what the patient did next. Association, not cause: a patient who leaves
-- early has also less time in which to meet a stall, so compare ratios, not counts.
-- One unit is a patient: a score is compared with the patient's own before it.
{{ config(
  materialized='incremental',
  incremental_strategy='affected',
  pre_hook="{{ take_claims() }}",
  meta={'keys': {'patient_id': 'id'}},
  indexes=[{'columns': ['patient_id']}, {'columns': ['started_at']}],
) }}

{% set form_drop_points = 5 -%}

with

logs as (
  select * from {{ ref('fct_exercise_logs') }}
  {% if is_incremental() %}
  where patient_id in {{ affected() }}
  {% endif %}
),

-- An exercise begun again has several logs at one position: the next exercise is at the next position, and was skipped
-- where none of its logs says otherwise.
sittings as (
  select
    patient_exercise_log_id,
    bool_and(is_skipped) over (
      partition by session_completion_id order by position_in_sitting groups between 1 following and 1 following
    ) as is_next_exercise_skipped
  from logs
),

-- The score before: the patient's own, of the same exercise.
forms as (
  select
    patient_exercise_log_id,
    lag(form_score) over (
      partition by patient_id, exercise_id order by started_at, patient_exercise_log_id
    ) as previous_form_score
  from logs
  where form_score is not null
)

select
  logs.organisation_id,
  logs.patient_exercise_log_id,
  logs.patient_id,
  logs.exercise_id,
  logs.started_at,
  logs.views,
  logs.video_watch_percentage,
  logs.stalls,
  logs.stall_ms,
  logs.played_ms,
  (logs.stall_ms::numeric / nullif(logs.played_ms, 0))::numeric(9, 6) as stall_ratio,
  (logs.bitrate_bits / nullif(logs.bitrate_seconds, 0))::numeric(14, 0) as mean_bitrate,
  logs.downswitches,
  logs.oscillations,
  (logs.dropped_frames::numeric / nullif(logs.total_frames, 0))::numeric(9, 6) as dropped_frame_ratio,
  logs.is_skipped,
  sittings.is_next_exercise_skipped,
  logs.is_abandoned,
  case sessions.session_status when 'completed' then false when 'skipped' then true end as is_sitting_left,
  logs.form_score,
  forms.previous_form_score::numeric(5, 2) as previous_form_score,
  (logs.form_score - forms.previous_form_score)::numeric(6, 2) as form_score_change,
  logs.form_score - forms.previous_form_score <= -{{ form_drop_points }} as is_form_dropped,
  -- What the patient said of the whole sitting afterwards.
  sessions.perceived_difficulty,
  sessions.pain_level_after,
  sessions.pain_level_before - sessions.pain_level_after as pain_change_points
from logs
inner join {{ ref('stg_core__patient_session_completions') }} as sessions using (session_completion_id)
inner join sittings using (patient_exercise_log_id)
left join forms using (patient_exercise_log_id)
where logs.views is not null
