with

sold as (
  select
    plans.patient_treatment_plan_id,
    plans.organisation_id,
    plans.treatment_plan_id,
    plans.plan_status,
    plans.service_plan_id,
    service_plans.currency,
    0::bigint as paid_cents,
    0 as payments
  from {{ ref('stg_core__patient_treatment_plans') }} as plans
  left join {{ ref('stg_core__service_plans') }} as service_plans using (service_plan_id)
),

paid as (
  -- What a payment says counts: it may be for another service plan, or in another currency, than the plan names now.
  select
    plans.patient_treatment_plan_id,
    plans.organisation_id,
    plans.treatment_plan_id,
    plans.plan_status,
    payments.service_plan_id,
    payments.currency,
    payments.amount_cents as paid_cents,
    1 as payments
  from {{ ref('stg_core__service_plan_payments') }} as payments
  inner join {{ ref('stg_core__patient_treatment_plans') }} as plans using (patient_treatment_plan_id)
),

entries as (
  select * from sold
  union all
  select * from paid
),

totals as (
  select
    organisation_id,
    treatment_plan_id,
    service_plan_id,
    currency,
    count(distinct patient_treatment_plan_id)::integer as patient_plans,
    count(distinct patient_treatment_plan_id) filter (where plan_status = 'completed')::integer
      as patient_plans_completed,
    sum(payments)::integer as payments,
    sum(paid_cents)::bigint as paid_cents
  from entries
  group by organisation_id, treatment_plan_id, service_plan_id, currency
)

select
  totals.organisation_id,
  totals.treatment_plan_id,
  treatment_plans.treatment_plan_name,
  totals.service_plan_id,
  service_plans.service_plan_name,
  totals.currency,
  totals.patient_plans,
  totals.patient_plans_completed,
  totals.payments,
  totals.paid_cents,
  round(totals.paid_cents::numeric / totals.patient_plans)::bigint as paid_cents_per_patient_plan,
  {{ as_of() }} as as_of
from totals
inner join {{ ref('stg_core__treatment_plans') }} as treatment_plans using (treatment_plan_id)
left join {{ ref('stg_core__service_plans') }} as service_plans using (service_plan_id)
