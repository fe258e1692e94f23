-- A zone the server does not know counts as UTC here, so that one bad row does not stop every clinic's figures; a data
-- test reports it.
select
  patients.id as patient_id,
  patients.organisation_id,
  coalesce(zones.time_zone, 'UTC') as time_zone,
  zones.time_zone is not null as is_time_zone_known,
  patients.created_at
from {{ source('core', 'patients') }} as patients
left join {{ ref('stg_postgres__time_zones') }} as zones on patients.time_zone = zones.time_zone
