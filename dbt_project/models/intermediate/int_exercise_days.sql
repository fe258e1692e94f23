-- Days, so that a window of 90 is added up without reading its logs.
{{ config(
  materialized='incremental',
  incremental_strategy='affected',
  pre_hook="{{ take_claims() }}",
  meta={'keys': {'exercise_id': 'id', 'utc_date': 'starts_on'}},
  indexes=[{'columns': ['exercise_id', 'utc_date'], 'unique': true}, {'columns': ['utc_date']}],
) }}

select
  organisation_id,
  exercise_id,
  utc_date,
  count(*)::integer as logs,
  count(form_score) filter (where not is_skipped)::integer as scored_logs,
  sum(form_score) filter (where not is_skipped) as form_score_sum
from {{ ref('fct_exercise_logs') }}
{% if is_incremental() %}
where (exercise_id, utc_date) in {{ affected('id, starts_on') }}
{% endif %}
group by organisation_id, exercise_id, utc_date
