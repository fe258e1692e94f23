{# Every known value lies in [minimum, maximum], either of which may be null (no bound); an unknown is no violation. #}
{% test in_range(model, columns) %}
select {{ columns.keys() | join(', ') }}
from {{ model }}
where
  {% for column, bounds in columns.items() %}
  {% set outer = loop %}
  {% for bound in bounds if bound is not none %}
  {{ 'or ' if not (outer.first and loop.first) }}{{ column }} {{ '<' if bounds[0] is not none and loop.first else '>' }} {{ bound }}
  {% endfor %}
  {% endfor %}
{% endtest %}
