-- One unit is a patient's plan: those that changed, and those whose last day moves with as_of.
{{ config(
  materialized='incremental',
  incremental_strategy='affected',
  pre_hook="{{ claim_plan_outcomes() }}",
  meta={
    'keys': {'patient_treatment_plan_id': 'id'},
    'feeds': [
      {'model': 'patient_progress', 'id': 'patient_treatment_plan_id'},
      {'model': 'plan_weekly_adherence', 'id': 'patient_treatment_plan_id'},
    ],
  },
  indexes=[{'columns': ['patient_treatment_plan_id'], 'unique': true}, {'columns': ['is_settled']}],
) }}

with

elapsed as (
  select
    plans.*,
    plans.plan_status <> 'active' and coalesce(plans.ended_at <= {{ as_of() }}, false) as is_settled,
    (
      case
        when plans.plan_status = 'active' then {{ as_of() }}
        else least(coalesce(plans.ended_at, {{ as_of() }}), {{ as_of() }})
      end at time zone patients.time_zone
    )::date as last_local_date
  from {{ ref('stg_core__patient_treatment_plans') }} as plans
  inner join {{ ref('stg_core__patients') }} as patients using (patient_id)
  {% if is_incremental() %}
  where plans.patient_treatment_plan_id in {{ affected() }}
  {% endif %}
),

all_sittings as (
  select * from {{ ref('fct_treatment_sessions') }}
  {% if is_incremental() %}
  where patient_treatment_plan_id in {{ affected() }}
  {% endif %}
),

sittings as (
  select
    patient_treatment_plan_id,
    count(*) filter (where session_status = 'completed')::integer as sessions_completed,
    count(*) filter (where session_status = 'skipped')::integer as sessions_skipped,
    max(plan_week) as last_session_week,
    max(plan_week) filter (where session_status = 'completed') as last_completed_week,
    max(local_date) filter (where session_status = 'completed') as last_completed_on,
    round(avg(duration_seconds) filter (where session_status = 'completed'))::integer as mean_duration_seconds
  from all_sittings
  group by patient_treatment_plan_id
),

pain as (
  select
    patient_treatment_plan_id,
    count(*)::integer as sessions_with_pain,
    (array_agg(pain_level_before order by started_at, session_number))[1] as pain_first,
    (array_agg(pain_level_before order by started_at desc, session_number desc))[1] as pain_last
  from all_sittings
  where session_status = 'completed' and pain_level_before is not null
  group by patient_treatment_plan_id
)

select
  elapsed.patient_treatment_plan_id,
  elapsed.organisation_id,
  elapsed.patient_id,
  elapsed.treatment_plan_id,
  elapsed.service_plan_id,
  elapsed.plan_status,
  elapsed.started_on,
  elapsed.last_local_date,
  elapsed.is_settled,
  elapsed.sessions_total,
  elapsed.frequency_per_week,
  greatest(elapsed.last_local_date - elapsed.started_on, 0) as elapsed_days,
  {{ expected_sessions(
    'elapsed.frequency_per_week', '(elapsed.last_local_date - elapsed.started_on)', 'elapsed.sessions_total'
  ) }} as sessions_expected,
  coalesce(sittings.sessions_completed, 0) as sessions_completed,
  coalesce(sittings.sessions_skipped, 0) as sessions_skipped,
  sittings.last_session_week,
  sittings.last_completed_week,
  sittings.last_completed_on,
  sittings.mean_duration_seconds,
  coalesce(pain.sessions_with_pain, 0) as sessions_with_pain,
  pain.pain_first,
  pain.pain_last,
  -- One sitting has no change to show: unknown, not 0.
  case when pain.sessions_with_pain >= 2 then pain.pain_first - pain.pain_last end as pain_reduction_points,
  case
    when pain.sessions_with_pain >= 2 then {{ important_pain_reduction('pain.pain_first', 'pain.pain_last') }}
  end as is_important_pain_reduction
from elapsed
left join sittings using (patient_treatment_plan_id)
left join pain using (patient_treatment_plan_id)
