select
  plans.organisation_id,
  plans.treatment_plan_id,
  treatment_plans.treatment_plan_name,
  count(*)::integer as patient_plans,
  count(distinct plans.patient_id)::integer as patients,
  count(*) filter (where plans.plan_status = 'active')::integer as plans_active,
  count(*) filter (where plans.plan_status = 'completed')::integer as plans_completed,
  count(*) filter (where plans.plan_status = 'expired')::integer as plans_expired,
  count(*) filter (where plans.plan_status = 'cancelled')::integer as plans_cancelled,
  {{ percent(
    "count(*) filter (where plans.plan_status = 'completed')", "count(*) filter (where plans.plan_status <> 'active')"
  ) }} as completion_percent,
  {{ percent('sum(plans.sessions_completed)', 'sum(plans.sessions_expected)') }} as adherence_percent,
  count(plans.pain_reduction_points) filter (where plans.plan_status = 'completed')::integer
    as plans_with_pain_reduction,
  round(avg(plans.pain_reduction_points) filter (where plans.plan_status = 'completed'), 2) as pain_reduction_points,
  {{ percent(
    "count(*) filter (where plans.plan_status = 'completed' and plans.is_important_pain_reduction)",
    "count(plans.pain_reduction_points) filter (where plans.plan_status = 'completed')"
  ) }} as important_pain_reduction_percent,
  {{ as_of() }} as as_of
from {{ ref('int_plan_outcomes') }} as plans
inner join {{ ref('stg_core__treatment_plans') }} as treatment_plans using (treatment_plan_id)
group by plans.organisation_id, plans.treatment_plan_id, treatment_plans.treatment_plan_name
