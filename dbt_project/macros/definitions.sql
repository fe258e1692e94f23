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
