-- One unit is a quarter. Unsuppressed: only console_cohorts may read it.
{{ config(
  materialized='incremental',
  incremental_strategy='affected',
  pre_hook="{{ claim_profile_quarters() }}",
  meta={'keys': {'quarter_start': 'starts_on'}},
  indexes=[{'columns': ['quarter_start', 'movement_profile'], 'unique': true}],
) }}

select
  quarters.quarter_start,
  coalesce(exercises.movement_profile, 'all') as movement_profile,
  grouping(exercises.movement_profile) = 1 as is_total,
  count(distinct quarters.patient_id)::integer as patients,
  sum(quarters.exercise_sessions)::integer as exercise_sessions,
  sum(quarters.reps)::bigint as reps,
  round(sum(quarters.form_score_sum) / sum(quarters.exercise_sessions), 1) as mean_form_score,
  round(sum(quarters.rom_mean_sum_deg) / sum(quarters.exercise_sessions), 1) as mean_rom_deg
from {{ ref('int_patient_quarters') }} as quarters
inner join {{ ref('stg_core__exercises') }} as exercises using (exercise_id)
{% if is_incremental() %}
where quarters.quarter_start in {{ affected('starts_on') }}
{% endif %}
group by grouping sets ((quarters.quarter_start, exercises.movement_profile), (quarters.quarter_start))
