-- A table, so that the server's files of time zones are read once a run.
{{ config(materialized='table', post_hook=["{{ finish_build(readers=[]) }}"]) }}

select name as time_zone
from {{ source('pg_catalog', 'pg_timezone_names') }}
