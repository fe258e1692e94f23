-- A table, so that the server's list of time zones is read once a run. A zone the server does not know counts as UTC
-- here, so that one bad row does not stop every clinic's figures; a data test reports it.
{{ config(materialized='table', post_hook=[{'sql': "{{ protect_rows(readers=[]) }}", 'transaction': true}]) }}

select
  patients.id as patient_id,
  patients.organisation_id,
  coalesce(zones.name, 'UTC') as time_zone,
  zones.name is not null as is_time_zone_known,
  patients.created_at
from {{ source('core', 'patients') }} as patients
left join pg_catalog.pg_timezone_names as zones on zones.name = patients.time_zone
