select
  id as treatment_plan_id,
  organisation_id,
  name as treatment_plan_name
from {{ source('core', 'treatment_plans') }}
