select
  id as exercise_id,
  organisation_id,
  name as exercise_name,
  media_id,
  movement_profile
from {{ source('core', 'exercises') }}
