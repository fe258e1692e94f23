-- No sitting and no expectation falls between the weeks.
{{ config(meta={'dagster': {'ref': {'name': 'plan_weekly_adherence'}}}) }}

select
  plans.patient_treatment_plan_id,
  plans.sessions_completed,
  plans.sessions_skipped,
  plans.sessions_expected
from {{ ref('int_plan_outcomes') }} as plans
left join {{ ref('plan_weekly_adherence') }} as weeks using (patient_treatment_plan_id)
group by plans.patient_treatment_plan_id, plans.sessions_completed, plans.sessions_skipped, plans.sessions_expected
having
  coalesce(sum(weeks.sessions_completed), 0) <> plans.sessions_completed
  or coalesce(sum(weeks.sessions_skipped), 0) <> plans.sessions_skipped
  or coalesce(sum(weeks.sessions_expected_to_date), 0) <> plans.sessions_expected
