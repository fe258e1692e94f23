-- Statuses add up to the organisation's plans, and so do the cohorts.
{{ config(group='analytics', meta={'dagster': {'ref': {'name': 'organisation_dashboard'}}}) }}

select
  dashboard.organisation_id,
  dashboard.plans_total,
  coalesce(sum(cohorts.plans_started), 0) as in_cohorts
from {{ ref('organisation_dashboard') }} as dashboard
left join {{ ref('cohort_outcomes') }} as cohorts using (organisation_id)
group by
  dashboard.organisation_id, dashboard.plans_total, dashboard.plans_active, dashboard.plans_completed,
  dashboard.plans_expired, dashboard.plans_cancelled
having
  dashboard.plans_total
  <> dashboard.plans_active + dashboard.plans_completed + dashboard.plans_expired + dashboard.plans_cancelled
  or dashboard.plans_total <> coalesce(sum(cohorts.plans_started), 0)
