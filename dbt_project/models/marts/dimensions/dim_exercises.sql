select
  exercise_id,
  organisation_id,
  exercise_name,
  movement_profile,
  media_id is not null as has_video
from {{ ref('stg_core__exercises') }}
