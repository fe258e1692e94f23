-- Pain is compared within the sitting; days and weeks are the patient's own.
select
  sessions.session_completion_id,
  sessions.organisation_id,
  sessions.patient_treatment_plan_id,
  sessions.patient_id,
  sessions.session_number,
  sessions.session_status,
  sessions.started_at,
  (sessions.started_at at time zone patients.time_zone)::date as local_date,
  plans.started_on as plan_started_on,
  -- A sitting before the plan's first day belongs to week 1, so that no sitting falls outside the weeks.
  greatest(((sessions.started_at at time zone patients.time_zone)::date - plans.started_on) / 7 + 1, 1) as plan_week,
  sessions.pain_level_before,
  sessions.pain_level_after,
  sessions.pain_level_before - sessions.pain_level_after as pain_change_points,
  {{ important_pain_reduction('sessions.pain_level_before', 'sessions.pain_level_after') }} as is_important_pain_reduction,
  sessions.perceived_difficulty,
  sessions.exercises_completed,
  sessions.exercises_total,
  sessions.duration_seconds
from {{ ref('stg_core__patient_session_completions') }} as sessions
inner join {{ ref('stg_core__patient_treatment_plans') }} as plans using (patient_treatment_plan_id)
inner join {{ ref('stg_core__patients') }} as patients on patients.patient_id = sessions.patient_id
