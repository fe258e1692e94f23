select
  patient_treatment_plan_id,
  week_number,
  organisation_id,
  patient_id,
  treatment_plan_id,
  plan_status,
  week_start,
  week_end,
  is_current_week,
  sessions_expected,
  sessions_expected_to_date,
  sessions_completed,
  sessions_skipped,
  {{ percent('sessions_completed', 'sessions_expected') }} as adherence_percent,
  {{ as_of() }} as as_of
from {{ ref('int_plan_weeks') }}
