{# After a run in which every model succeeded: tables and views that no model makes any more, because it was renamed or
   removed, are dropped. Nothing would ever take an erased patient's rows out of them. dbt looks after its own back-ups. #}
{% macro drop_what_no_model_makes() %}
{% if not execute or flags.WHICH not in ('build', 'run') %}{{ return('') }}{% endif %}
{% for result in results if result.node.resource_type == 'model' and result.status != 'success' %}{{ return('') }}{% endfor %}
{% set models = graph.nodes.values() | selectattr('resource_type', 'equalto', 'model') | list %}
{% set made = [state_table(), affected_table()] | map('trim') | list %}
{% for node in models %}{% do made.append(node.schema ~ '.' ~ node.alias) %}{% endfor %}
{% set question %}
  select
    case kept.relkind when 'v' then 'view' else 'table' end as kind,
    quote_ident(space.nspname) || '.' || quote_ident(kept.relname) as name
  from pg_catalog.pg_class as kept
  inner join pg_catalog.pg_namespace as space on space.oid = kept.relnamespace
  where
    space.nspname in ('{{ models | map(attribute='schema') | unique | join("', '") }}')
    and kept.relkind in ('r', 'v')
    and pg_catalog.pg_has_role(kept.relowner, 'usage')
    and space.nspname || '.' || kept.relname not in ('{{ made | join("', '") }}')
    and kept.relname not like '%\_\_dbt\_%'
  order by kept.relkind desc, 2
{% endset %}
{% for kind, name in run_query(question).rows %}
{% do log('No model makes ' ~ name ~ ' any more: dropped', info=true) %}
drop {{ kind }} {{ name }};
{% endfor %}
{% endmacro %}
