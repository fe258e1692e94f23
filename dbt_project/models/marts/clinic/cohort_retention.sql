-- Who left early is in every week's denominator, as long as the week has come for them.
with

plans as (
  select
    *,
    date_trunc('month', started_on)::date as start_month,
    coalesce(last_completed_week, 0) as retained_until_week,
    -- Weeks that have begun since the plan's first day, whether or not it still runs, as far as the curve goes.
    least(
      (({{ as_of() }} at time zone 'UTC')::date - started_on) / 7 + 1, {{ var('retention_weeks') }}
    ) as weeks_begun
  from {{ ref('int_plan_outcomes') }}
  where started_on <= ({{ as_of() }} at time zone 'UTC')::date
),

-- Plans that are alike in all the curve asks of them are counted once, not once a week.
alike as (
  select
    organisation_id,
    treatment_plan_id,
    start_month,
    plan_status,
    weeks_begun,
    retained_until_week,
    count(*) as plan_count
  from plans
  group by organisation_id, treatment_plan_id, start_month, plan_status, weeks_begun, retained_until_week
),

curve as (
  select
    alike.organisation_id,
    alike.treatment_plan_id,
    alike.start_month,
    week_number,
    sum(alike.plan_count)::integer as plans_observed,
    coalesce(sum(alike.plan_count) filter (
      where alike.plan_status = 'completed' or alike.retained_until_week >= week_number
    ), 0)::integer as plans_retained,
    coalesce(sum(alike.plan_count) filter (
      where alike.plan_status in ('expired', 'cancelled') and alike.retained_until_week < week_number
    ), 0)::integer as plans_lost
  from alike
  cross join lateral generate_series(1, alike.weeks_begun) as week_number
  group by alike.organisation_id, alike.treatment_plan_id, alike.start_month, week_number
),

weeks as (
  select
    plans.treatment_plan_id,
    plans.start_month,
    weeks.week_number,
    sum(weeks.sessions_completed)::integer as sessions_completed,
    sum(weeks.sessions_expected_to_date)::integer as sessions_expected,
    count(weeks.mean_pain_before)::integer as plans_with_pain,
    round(avg(weeks.mean_pain_before), 2) as mean_pain_before
  from plans
  inner join {{ ref('plan_weekly_adherence') }} as weeks using (patient_treatment_plan_id)
  where weeks.week_number <= {{ var('retention_weeks') }}
  group by plans.treatment_plan_id, plans.start_month, weeks.week_number
)

select
  curve.organisation_id,
  curve.treatment_plan_id,
  curve.start_month,
  curve.week_number,
  curve.plans_observed,
  curve.plans_retained,
  {{ percent('curve.plans_retained', 'curve.plans_observed') }} as retention_percent,
  curve.plans_lost,
  {{ percent('curve.plans_lost', 'curve.plans_observed') }} as attrition_percent,
  coalesce(weeks.sessions_completed, 0) as sessions_completed,
  coalesce(weeks.sessions_expected, 0) as sessions_expected,
  {{ percent('weeks.sessions_completed', 'weeks.sessions_expected') }} as adherence_percent,
  coalesce(weeks.plans_with_pain, 0) as plans_with_pain,
  weeks.mean_pain_before,
  {{ as_of() }} as as_of
from curve
left join weeks using (treatment_plan_id, start_month, week_number)
