with

prescribed as (
  select
    plans.organisation_id,
    'most_prescribed' as ranking,
    contents.exercise_id,
    count(*)::integer as patient_plans,
    null::integer as scored_logs,
    null::numeric as mean_form_score,
    count(*)::numeric as merit
  from {{ ref('stg_core__patient_treatment_plans') }} as plans
  inner join {{ ref('stg_core__treatment_plan_exercises') }} as contents using (treatment_plan_id)
  group by plans.organisation_id, contents.exercise_id
),

scored as (
  select
    organisation_id,
    exercise_id,
    sum(scored_logs)::integer as scored_logs,
    round(sum(form_score_sum) / sum(scored_logs), 2) as mean_form_score
  from {{ ref('int_exercise_days') }}
  -- Whole days, today's included.
  where
    utc_date > ({{ as_of() }} at time zone 'UTC')::date - 90
    and utc_date <= ({{ as_of() }} at time zone 'UTC')::date
  group by organisation_id, exercise_id
  having sum(scored_logs) >= {{ var('minimum_scored_logs') }}
),

candidates as (
  select * from prescribed
  union all
  select
    organisation_id,
    'best_form' as ranking,
    exercise_id,
    null as patient_plans,
    scored_logs,
    mean_form_score,
    mean_form_score as merit
  from scored
  union all
  select
    organisation_id,
    'worst_form' as ranking,
    exercise_id,
    null as patient_plans,
    scored_logs,
    mean_form_score,
    -mean_form_score as merit
  from scored
),

ranked as (
  select
    candidates.*,
    exercises.exercise_name,
    row_number() over (
      partition by candidates.organisation_id, candidates.ranking
      order by candidates.merit desc, exercises.exercise_name asc, candidates.exercise_id asc
    )::integer as position
  from candidates
  inner join {{ ref('stg_core__exercises') }} as exercises using (exercise_id)
)

select
  organisation_id,
  ranking,
  position,
  exercise_id,
  exercise_name,
  patient_plans,
  scored_logs,
  mean_form_score,
  {{ as_of() }} as as_of
from ranked
where position <= {{ var('top_exercises_count') }}
