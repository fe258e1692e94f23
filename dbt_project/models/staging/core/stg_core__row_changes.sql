select
  xid,
  table_name,
  organisation_id,
  row_id,
  session_id,
  started_at,
  changed_at
from {{ source('core', 'row_changes') }}
