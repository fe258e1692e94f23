-- By key only: who a patient is stays in core, encrypted.
with

plans as (
  select
    patient_id,
    count(*)::integer as plans_total,
    count(*) filter (where plan_status = 'active')::integer as plans_active,
    min(started_on) as first_plan_started_on
  from {{ ref('int_plan_outcomes') }}
  group by patient_id
)

select
  patients.patient_id,
  patients.organisation_id,
  coalesce(plans.plans_total, 0) as plans_total,
  coalesce(plans.plans_active, 0) as plans_active,
  plans.first_plan_started_on
from {{ ref('stg_core__patients') }} as patients
left join plans using (patient_id)
