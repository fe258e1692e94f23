-- The counters the Core API keeps equal the sittings they count. Plans old enough for retention to have taken some of
-- their sittings (7 years) are left out.
{{ config(meta={'dagster': {'ref': {'name': 'stg_core__patient_treatment_plans'}}}) }}

select
  plans.patient_treatment_plan_id,
  plans.sessions_completed_counter,
  plans.sessions_skipped_counter,
  count(sittings.*) filter (where sittings.session_status = 'completed') as completed_found,
  count(sittings.*) filter (where sittings.session_status = 'skipped') as skipped_found
from {{ ref('stg_core__patient_treatment_plans') }} as plans
left join {{ ref('stg_core__patient_session_completions') }} as sittings using (patient_treatment_plan_id)
where plans.started_on > ({{ as_of() }} at time zone 'UTC')::date - 2557
group by
  plans.patient_treatment_plan_id, plans.sessions_completed_counter, plans.sessions_skipped_counter
having
  plans.sessions_completed_counter <> count(sittings.*) filter (where sittings.session_status = 'completed')
  or plans.sessions_skipped_counter <> count(sittings.*) filter (where sittings.session_status = 'skipped')
