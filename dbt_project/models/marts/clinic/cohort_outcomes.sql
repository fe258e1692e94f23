{{ config(indexes=[{'columns': ['organisation_id', 'start_month', 'treatment_plan_id'], 'unique': true}]) }}

-- Who stayed is not who started: every outcome stands beside the attrition that selected it.
with

plans as (
  select
    *,
    date_trunc('month', started_on)::date as start_month,
    plan_status in ('expired', 'cancelled') as is_lost,
    plan_status = 'active'
    and greatest(coalesce(last_completed_on, started_on), started_on) < last_local_date - 14 as is_inactive
  from {{ ref('int_plan_outcomes') }}
)

select
  plans.organisation_id,
  plans.treatment_plan_id,
  treatment_plans.treatment_plan_name,
  plans.start_month,
  count(*)::integer as plans_started,
  count(distinct plans.patient_id)::integer as patients,
  count(*) filter (where plans.plan_status = 'active')::integer as plans_active,
  count(*) filter (where plans.plan_status = 'completed')::integer as plans_completed,
  count(*) filter (where plans.plan_status = 'expired')::integer as plans_expired,
  count(*) filter (where plans.plan_status = 'cancelled')::integer as plans_cancelled,
  count(*) filter (where plans.is_inactive)::integer as plans_inactive,
  count(*) filter (where plans.sessions_completed = 0)::integer as plans_never_begun,
  {{ percent('count(*) filter (where plans.is_lost)', 'count(*)') }} as attrition_percent,
  sum(plans.sessions_completed)::integer as sessions_completed,
  sum(plans.sessions_expected)::integer as sessions_expected,
  {{ percent('sum(plans.sessions_completed)', 'sum(plans.sessions_expected)') }} as adherence_percent,
  count(plans.pain_reduction_points)::integer as plans_with_pain_reduction,
  round(avg(plans.pain_reduction_points), 2) as pain_reduction_points,
  count(plans.pain_reduction_points) filter (where plans.plan_status = 'completed')::integer
    as completed_plans_with_pain_reduction,
  round(avg(plans.pain_reduction_points) filter (where plans.plan_status = 'completed'), 2)
    as completed_pain_reduction_points,
  {{ percent(
    'count(*) filter (where plans.is_important_pain_reduction)', 'count(plans.pain_reduction_points)'
  ) }} as important_pain_reduction_percent,
  {{ as_of() }} as as_of
from plans
inner join {{ ref('stg_core__treatment_plans') }} as treatment_plans using (treatment_plan_id)
group by plans.organisation_id, plans.treatment_plan_id, treatment_plans.treatment_plan_name, plans.start_month
