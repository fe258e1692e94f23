select
  id as organisation_id,
  name as organisation_name,
  created_at
from {{ source('core', 'organisations') }}
