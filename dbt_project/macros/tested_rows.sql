{# A data test's `where: __recent__` reads, in a nightly run, the rows of the last tested_days; in a run with
   --full-refresh, all of them. The tables it is used on are too long to be read whole every night; their keys are
   constraints of the database besides. #}
{% macro get_where_subquery(relation) -%}
  {% set where = config.get('where', '') %}
  {% if not where %}{{ return(relation) }}{% endif %}
  {% if where == '__recent__' %}
    {% set where = recent('started_at') %}
  {% endif %}
  {{ return('(select * from ' ~ relation ~ ' where ' ~ where ~ ') as tested_rows') }}
{%- endmacro %}

{# A singular test's bound, like `__recent__` of a data test: the last tested_days, or everything with --full-refresh. #}
{% macro recent(column) -%}
{%- if flags.FULL_REFRESH -%} true
{%- else -%} {{ column }} > {{ as_of() }} - interval '{{ var("tested_days") }} days'
{%- endif -%}
{%- endmacro %}
