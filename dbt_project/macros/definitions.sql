{# The instant a run's figures speak for: one for all models of a run. #}
{% macro as_of() -%}
  '{{ var("as_of") or run_started_at.isoformat() }}'::timestamptz
{%- endmacro %}

{# Whole percent, rounded half up (6 of 7 is 86); null where there is nothing to divide by. #}
{% macro percent(numerator, denominator) -%}
  floor(100.0 * ({{ numerator }}) / nullif({{ denominator }}, 0) + 0.5)::integer
{%- endmacro %}

{# Sessions expected after `days` elapsed days of a plan: frequency a full week, the remainder's share rounded down,
   never more than the plan has. #}
{% macro expected_sessions(frequency_per_week, days, sessions_total) -%}
  least(
    {{ sessions_total }},
    {{ frequency_per_week }} * (greatest({{ days }}, 0) / 7)
    + ({{ frequency_per_week }} * (greatest({{ days }}, 0) % 7)) / 7
  )
{%- endmacro %}

{# Whether a fall in pain from `before` to `after` is clinically noticeable: 2 points or 33 % (Salaffi et al. 2004,
   Farrar et al. 2001). Null where either is unknown. #}
{% macro important_pain_reduction(before, after) -%}
  ({{ before }} - {{ after }} >= 2
   or ({{ before }} > {{ after }} and 100 * ({{ before }} - {{ after }}) >= 33 * {{ before }}))
{%- endmacro %}

{# Whether the exercise of a log was done: the one rule of the migrations, which the live reads ask too. `logs` is the name
   of rows with stg_core__patient_exercise_logs' columns. A migration that changes the function raises definitions_version. #}
{% macro exercise_is_done(logs, is_ended_as_completed) -%}
  core.counts_as_done(
    {{ logs }}.is_skipped, {{ logs }}.is_reported, {{ is_ended_as_completed }}, {{ logs }}.actual_reps,
    {{ logs }}.actual_reps_source, {{ logs }}.prescribed_sets, {{ logs }}.prescribed_reps
  )
{%- endmacro %}
