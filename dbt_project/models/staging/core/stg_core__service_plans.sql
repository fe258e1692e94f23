select
  id as service_plan_id,
  organisation_id,
  name as service_plan_name,
  price_cents,
  currency::text as currency
from {{ source('core', 'service_plans') }}
