select
  id as patient_treatment_plan_id,
  organisation_id,
  patient_id,
  treatment_plan_id,
  service_plan_id,
  sessions_total,
  sessions_completed as sessions_completed_counter,
  sessions_skipped as sessions_skipped_counter,
  frequency_per_week,
  status as plan_status,
  started_on,
  ended_at
from {{ source('core', 'patient_treatment_plans') }}
