{# What a nightly run's data tests look at, and how they find it.

   `where: __recent__` bounds a test by the model's started_at to the last tested_days; `__recent__(week_start, 13)` by
   another column, and so many days more. With --full-refresh they look at everything. The tables it is used on are too
   long to be read whole every night; their keys are constraints of the database besides. #}
{% macro get_where_subquery(relation) -%}
  {% set where = config.get('where', '') %}
  {% if not where %}{{ return(relation) }}{% endif %}
  {% if where.startswith('__recent__') %}
    {% set column, _, more_days = where[10:].strip('()').partition(',') %}
    {% set where = recent(column or 'started_at', more_days | int) %}
  {% endif %}
  {{ return('(select * from ' ~ relation ~ ' where ' ~ where ~ ') as tested_rows') }}
{%- endmacro %}

{# A singular test's bound. It has to stand on the bare column, or no index is used, and on both sides of a join of long
   tables, or one of them is read whole. #}
{% macro recent(column, more_days=0) -%}
{%- if flags.FULL_REFRESH -%} true
{%- else -%} {{ column }} > {{ as_of() }} - interval '{{ var("tested_days") | int + more_days }} days'
{%- endif -%}
{%- endmacro %}

{# Replaces dbt's own: the planner settings that models are built with (begin_refresh) hold for tests too. By the server's
   defaults a look-up of few rows is planned as a scan of the long table they are in. #}
{% macro get_test_sql(main_sql, fail_calc, warn_if, error_if, limit) -%}
set local random_page_cost = 1.1;
set local jit = off;
{% if not flags.FULL_REFRESH %}set local enable_mergejoin = off;{% endif %}
{{ adapter.dispatch('get_test_sql', 'dbt')(main_sql, fail_calc, warn_if, error_if, limit) }}
{%- endmacro %}
