with

contents as (
  select treatment_plan_id, count(*)::integer as exercises
  from {{ ref('stg_core__treatment_plan_exercises') }}
  group by treatment_plan_id
)

select
  plans.treatment_plan_id,
  plans.organisation_id,
  plans.treatment_plan_name,
  coalesce(contents.exercises, 0) as exercises
from {{ ref('stg_core__treatment_plans') }} as plans
left join contents using (treatment_plan_id)
