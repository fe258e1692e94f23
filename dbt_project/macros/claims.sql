{# What each model that reads sources has to rebuild after changes in them. ref() stands outside of the condition, so
   that dbt sees what a model depends on when it parses. #}

{% macro claim_sessions(tables, partitioned) %}
{% set log = ref('stg_core__row_changes') %}
{% set parent = api.Relation.create(schema='telemetry', identifier=partitioned) %}
{% if is_incremental() %}
{{ claim('session_id, started_at', 'select session_id, started_at from ' ~ changed(tables) ~ ' as changes') }}
{{ claim('session_id, started_at', 'select * from ' ~ in_vanished_months(parent) ~ ' as vanished') }}
{{ take_claims() }}
{% endif %}
{% endmacro %}

{% macro claim_exercise_logs() %}
{% set log = ref('stg_core__row_changes') %}
{% set logs = ref('stg_core__patient_exercise_logs') %}
{% set plans = ref('stg_core__patient_treatment_plans') %}
{% if is_incremental() %}
{{ claim('id', 'select row_id from ' ~ changed(['patient_exercise_logs']) ~ ' as changes') }}
{# What ended a session: its entry names its exercise log. #}
{{ claim('id', 'select row_id from ' ~ changed(['sessions']) ~ ' as changes') }}
{{ claim('id', 'select logs.patient_exercise_log_id
  from ' ~ changed(['patient_session_completions']) ~ ' as changes
  inner join ' ~ logs ~ ' as logs on logs.session_completion_id = changes.row_id') }}
{{ claim('id', 'select held.patient_exercise_log_id
  from ' ~ changed(['patients']) ~ ' as changes
  inner join ' ~ plans ~ ' as plans on plans.patient_id = changes.row_id
  inner join ' ~ this ~ ' as held using (patient_treatment_plan_id)') }}
{{ take_claims() }}
{% endif %}
{% endmacro %}

{% macro claim_treatment_sessions() %}
{% set log = ref('stg_core__row_changes') %}
{% set sittings = ref('stg_core__patient_session_completions') %}
{% set plans = ref('stg_core__patient_treatment_plans') %}
{% if is_incremental() %}
{{ claim('id', 'select row_id from ' ~ changed(['patient_treatment_plans']) ~ ' as changes') }}
{{ claim('id', 'select sittings.patient_treatment_plan_id
  from ' ~ changed(['patient_session_completions']) ~ ' as changes
  inner join ' ~ sittings ~ ' as sittings on sittings.session_completion_id = changes.row_id') }}
{{ claim('id', 'select held.patient_treatment_plan_id
  from ' ~ changed(['patient_session_completions']) ~ ' as changes
  inner join ' ~ this ~ ' as held on held.session_completion_id = changes.row_id') }}
{{ claim('id', 'select plans.patient_treatment_plan_id
  from ' ~ changed(['patients']) ~ ' as changes
  inner join ' ~ plans ~ ' as plans on plans.patient_id = changes.row_id') }}
{{ take_claims() }}
{% endif %}
{% endmacro %}

{# Besides what changed: plans whose last day moves with as_of. #}
{% macro claim_plan_outcomes() %}
{% set log = ref('stg_core__row_changes') %}
{% set plans = ref('stg_core__patient_treatment_plans') %}
{% if is_incremental() %}
{{ claim('id', 'select row_id from ' ~ changed(['patient_treatment_plans']) ~ ' as changes') }}
{{ claim('id', 'select plans.patient_treatment_plan_id
  from ' ~ changed(['patients']) ~ ' as changes
  inner join ' ~ plans ~ ' as plans on plans.patient_id = changes.row_id') }}
{{ claim('id', 'select patient_treatment_plan_id from ' ~ this ~ ' where not is_settled') }}
{{ take_claims() }}
{% endif %}
{% endmacro %}

{# An exercise's movement profile is where its figures count. #}
{% macro claim_profile_quarters() %}
{% set log = ref('stg_core__row_changes') %}
{% set quarters = ref('int_patient_quarters') %}
{% if is_incremental() %}
{{ claim('starts_on', 'select quarters.quarter_start
  from ' ~ changed(['exercises']) ~ ' as changes
  inner join ' ~ quarters ~ ' as quarters on quarters.exercise_id = changes.row_id') }}
{{ take_claims() }}
{% endif %}
{% endmacro %}
