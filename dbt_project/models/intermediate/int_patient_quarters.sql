-- What the console's cells are made of: sums, so that a quarter is added up from them without reading its sessions.
{{ config(
  materialized='incremental',
  incremental_strategy='affected',
  pre_hook="{{ take_claims() }}",
  meta={
    'keys': {'patient_id': 'id', 'exercise_id': 'other_id', 'quarter_start': 'starts_on'},
    'feeds': [{'model': 'int_profile_quarters', 'starts_on': 'quarter_start'}],
  },
  indexes=[
    {'columns': ['patient_id', 'exercise_id', 'quarter_start'], 'unique': true},
    {'columns': ['quarter_start']},
    {'columns': ['exercise_id']},
  ],
) }}

select
  organisation_id,
  patient_id,
  exercise_id,
  quarter_start,
  count(*)::integer as exercise_sessions,
  sum(rep_count)::bigint as reps,
  sum(average_form_score) as form_score_sum,
  sum(rom_mean_deg) as rom_mean_sum_deg
from {{ ref('int_pose_sessions') }}
where
  average_form_score is not null and rom_mean_deg is not null
  {% if is_incremental() %}
  and (patient_id, exercise_id, quarter_start) in {{ affected('id, other_id, starts_on') }}
  {% endif %}
group by organisation_id, patient_id, exercise_id, quarter_start
