with

plans as (
  select
    organisation_id,
    count(distinct patient_id)::integer as patients,
    count(*)::integer as plans_total,
    count(*) filter (where plan_status = 'active')::integer as plans_active,
    count(*) filter (where plan_status = 'completed')::integer as plans_completed,
    count(*) filter (where plan_status = 'expired')::integer as plans_expired,
    count(*) filter (where plan_status = 'cancelled')::integer as plans_cancelled,
    count(pain_reduction_points) filter (where plan_status = 'completed')::integer as plans_with_pain_reduction,
    round(avg(pain_reduction_points) filter (where plan_status = 'completed'), 2) as pain_reduction_points,
    count(*) filter (where plan_status = 'completed' and is_important_pain_reduction)::integer
      as plans_with_important_pain_reduction,
    coalesce(sum(sessions_completed) filter (where plan_status = 'active'), 0)::integer as sessions_completed,
    coalesce(sum(sessions_skipped) filter (where plan_status = 'active'), 0)::integer as sessions_skipped,
    coalesce(sum(sessions_expected) filter (where plan_status = 'active'), 0)::integer as sessions_expected
  from {{ ref('int_plan_outcomes') }}
  group by organisation_id
)

select
  organisations.organisation_id,
  coalesce(plans.patients, 0) as patients,
  coalesce(plans.plans_total, 0) as plans_total,
  coalesce(plans.plans_active, 0) as plans_active,
  coalesce(plans.plans_completed, 0) as plans_completed,
  coalesce(plans.plans_expired, 0) as plans_expired,
  coalesce(plans.plans_cancelled, 0) as plans_cancelled,
  {{ percent('plans.plans_completed', '(plans.plans_completed + plans.plans_expired + plans.plans_cancelled)') }}
    as plan_completion_percent,
  coalesce(plans.plans_with_pain_reduction, 0) as plans_with_pain_reduction,
  plans.pain_reduction_points,
  {{ percent('plans.plans_with_important_pain_reduction', 'plans.plans_with_pain_reduction') }}
    as important_pain_reduction_percent,
  coalesce(plans.sessions_completed, 0) as sessions_completed,
  coalesce(plans.sessions_skipped, 0) as sessions_skipped,
  coalesce(plans.sessions_expected, 0) as sessions_expected,
  {{ percent('plans.sessions_completed', 'plans.sessions_expected') }} as adherence_percent,
  {{ as_of() }} as as_of
from {{ ref('stg_core__organisations') }} as organisations
left join plans using (organisation_id)
