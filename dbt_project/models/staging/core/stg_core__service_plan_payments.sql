select
  id as payment_id,
  organisation_id,
  patient_treatment_plan_id,
  service_plan_id,
  amount_cents,
  currency::text as currency,
  paid_at
from {{ source('core', 'service_plan_payments') }}
