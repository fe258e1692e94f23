select
  id as treatment_plan_exercise_id,
  organisation_id,
  treatment_plan_id,
  exercise_id
from {{ source('core', 'treatment_plan_exercises') }}
