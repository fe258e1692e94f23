{# How an incremental model knows what to rebuild. docs/analytics.md ("Increments") tells the whole.

   A model that reads sources claims in its pre-hook what their changes touch (claims.sql). In its config's meta it says:
     keys    its unit of rebuilding: {its column: the column of `affected` that names it}
     feeds   who has to rebuild what when its rows change: [{model: name, <column of affected>: its column}]

   One transaction: begin_refresh says how far the change log is read, the claim is made and taken, the model's SQL makes
   the claimed rows anew, the strategy `affected` replaces them and tells the models that are fed (of the rows that were
   and of the rows that are), end_refresh commits how far was read. A run that fails leaves all of it undone. #}

{% macro state_table() -%} analytics_intermediate.refresh_state {%- endmacro %}
{% macro affected_table() -%} analytics_intermediate.affected {%- endmacro %}

{# What the build claimed, for `where x in ...`: one or more columns of `affected`. #}
{% macro affected(columns='id') -%}
(select {{ columns }} from claimed)
{%- endmacro %}

{# Add units to the model's own claim: SQL that selects the columns named. #}
{% macro claim(columns, sql) %}
insert into {{ affected_table() }} (model_name, {{ columns }})
select '{{ model.name }}', found.* from ({{ sql }}) as found;
{% endmacro %}

{# The claim as a table of this transaction, with statistics, so that few units are looked up and not searched for. #}
{% macro take_claims() %}
{% if is_incremental() %}
create temporary table claimed on commit drop as
select distinct id, other_id, starts_on, session_id, started_at
from {{ affected_table() }} where model_name = '{{ model.name }}';
analyze claimed;
{% endif %}
{% endmacro %}

{# In an increment the claimed sessions' rows of a partitioned relation, else all of it. Fenced by `offset 0`, so that each
   session is looked up in the one partition it is in: a join would be planned as a scan of all partitions. #}
{% macro of_claimed_sessions(relation) -%}
{%- if is_incremental() -%}
(
  select found.*
  from claimed
  cross join lateral (
    select * from {{ relation }} as one
    where one.session_id = claimed.session_id and one.started_at = claimed.started_at
    offset 0
  ) as found
)
{%- else -%} {{ relation }}
{%- endif -%}
{%- endmacro %}

{# Entries of the change log that the running build reads: of transactions that had all ended when it began. #}
{% macro changed(tables) -%}
(
  select distinct row_id, session_id, started_at
  from {{ ref('stg_core__row_changes') }}
  where
    table_name in ({% for table in tables %}'{{ table }}'{{ ', ' if not loop.last }}{% endfor %})
    and xid >= (select read_below_xid from {{ state_table() }} where model_name = '{{ model.name }}')
    and xid < (select reading_below_xid from {{ state_table() }} where model_name = '{{ model.name }}')
)
{%- endmacro %}

{# Sessions held here whose month has no partition any more: retention drops and operators detach whole months, which
   no trigger sees. One look at the index's ends where nothing is gone. #}
{% macro in_vanished_months(parent) -%}
(
  with months as materialized (
    select month.first_day
    from (select min(started_at) as oldest, max(started_at) as newest from {{ this }}) as span
    cross join lateral generate_series(
      date_trunc('month', span.oldest at time zone 'UTC'), span.newest at time zone 'UTC', interval '1 month'
    ) as month (first_day)
    where not exists (
      select 1
      from pg_catalog.pg_inherits as attached
      inner join pg_catalog.pg_class as partition on partition.oid = attached.inhrelid
      where
        attached.inhparent = '{{ parent }}'::regclass
        and partition.relname = '{{ parent.identifier }}_' || to_char(month.first_day, 'YYYYMM')
    )
  )

  select held.session_id, held.started_at
  from months
  inner join {{ this }} as held
    on held.started_at >= months.first_day at time zone 'UTC'
    and held.started_at < (months.first_day + interval '1 month') at time zone 'UTC'
)
{%- endmacro %}

{# A digest of what makes the model's rows: its SQL, its contract, the macros' definitions and the variables. #}
{% macro definition_digest() -%}
{{ local_md5(model.checksum.checksum ~ (model.contract.checksum or '') ~ var('definitions_version')
) }}
{%- endmacro %}

{# Replaces dbt's own: an increment is refused, and the model built from nothing, where adding to what is there would be
   wrong: no state, another definition, another cluster's transactions, entries lost, or a model it is fed by was itself
   rebuilt since. is_incremental() asks here too, so a model's SQL follows. #}
{% macro should_full_refresh() %}
  {% set asked = config.get('full_refresh') %}
  {% if asked is none %}{% set asked = flags.FULL_REFRESH %}{% endif %}
  {% if asked or not execute or config.get('incremental_strategy') != 'affected' or model.resource_type != 'model' %}
    {{ return(asked) }}
  {% endif %}
  {% set feeders = [] %}
  {% for node in graph.nodes.values() if node.resource_type == 'model' %}
    {% for feed in node.config.meta.get('feeds', []) if feed.model == model.name %}
      {% do feeders.append(node.name) %}
    {% endfor %}
  {% endfor %}
  {% set question %}
    select coalesce(bool_or(
      kept.definition = '{{ definition_digest() }}'
      and kept.system_identifier = (select system_identifier::text from pg_catalog.pg_control_system())
      and kept.read_below_xid >= (select below_xid from core.row_changes_lost)
      and kept.read_below_xid <= pg_snapshot_xmax(pg_current_snapshot())
      {% if feeders %}
      and not exists (
        select 1 from {{ state_table() }} as feeder
        where
          feeder.model_name in ('{{ feeders | join("', '") }}') and feeder.rebuilt_xid > kept.rebuilt_xid
      )
      {% endif %}
    ), false)
    from {{ state_table() }} as kept
    where kept.model_name = '{{ model.name }}'
  {% endset %}
  {{ return(not run_query(question).rows[0][0]) }}
{% endmacro %}

{# Before the build, in its transaction. The row of the model stays locked, so that two builds take turns. #}
{% macro begin_refresh() %}
{% if not execute or config.get('materialized') not in ('table', 'incremental') %}{{ return('') }}{% endif %}
set local random_page_cost = 1.1;
set local work_mem = '64MB';
set local jit = off;
{% if is_incremental() %}
{# Few units are looked up: a merge join reads a long index from its beginning to reach them. #}
set local enable_mergejoin = off;
{% endif %}
{% if config.get('incremental_strategy') == 'affected' %}
insert into {{ state_table() }} (model_name) values ('{{ model.name }}') on conflict do nothing;
select 1 from {{ state_table() }} where model_name = '{{ model.name }}' for update;
update {{ state_table() }} set
  reading_below_xid = pg_snapshot_xmin(pg_current_snapshot())
  {% if load_relation(this) is none %}, definition = null{% endif %}
where model_name = '{{ model.name }}';
{% endif %}
{% endmacro %}

{# After the build, in its transaction. #}
{% macro end_refresh() %}
{% if not execute or config.get('incremental_strategy') != 'affected' %}{{ return('') }}{% endif %}
delete from {{ affected_table() }} where model_name = '{{ model.name }}';
drop table if exists claimed;
update {{ state_table() }} set
  read_below_xid = reading_below_xid,
  system_identifier = (select system_identifier::text from pg_catalog.pg_control_system()),
  definition = '{{ definition_digest() }}'
  {% if should_full_refresh() %}, rebuilt_xid = pg_current_xact_id(){% endif %}
where model_name = '{{ model.name }}';
{% if should_full_refresh() %}analyze {{ this }};{% endif %}
{% endmacro %}

{# The incremental strategy `affected`: the claimed units are replaced by what the model's SQL made of them, and those
   that it made nothing of are gone. #}
{% macro get_incremental_affected_sql(arg_dict) %}
{% set target = arg_dict['target_relation'] %}
{% set temporary = arg_dict['temp_relation'] %}
{% set columns = arg_dict['dest_columns'] | map(attribute='quoted') | join(', ') %}
{% set keys = config.get('meta').get('keys') %}
{% set claimed %}
(select {{ keys.values() | join(', ') }} from claimed)
{% endset %}
{% set is_claimed %}
({% for column in keys %}held.{{ column }}{{ ', ' if not loop.last }}{% endfor %}) in {{ claimed }}
{% endset %}
{{ feed(target ~ ' as held where ' ~ is_claimed) }}
delete from {{ target }} as held where {{ is_claimed }};
insert into {{ target }} ({{ columns }}) select {{ columns }} from {{ temporary }};
{{ feed(temporary) }}
{% endmacro %}

{# Tell the fed models which units the given rows belong to. Their state's row is locked, so that one that is being built
   has finished taking its units before new ones come. #}
{% macro feed(rows) %}
{% for fed in config.get('meta').get('feeds', []) %}
{% set columns = fed.keys() | reject('equalto', 'model') | list %}
select 1 from {{ state_table() }} where model_name = '{{ fed.model }}' for update;
insert into {{ affected_table() }} (model_name, {{ columns | join(', ') }})
select distinct '{{ fed.model }}'{% for column in columns %}, {{ fed[column] }}{% endfor %}
from {{ rows }};
{% endfor %}
{% endmacro %}

{# After a run: entries of the change log that every model has read go, and so does the state of models that are no
   more. #}
{% macro empty_change_log() %}
{% if not execute or flags.WHICH not in ('build', 'run') %}{{ return('') }}{% endif %}
{% set models = [] %}
{% for node in graph.nodes.values() if node.resource_type == 'model' and node.config.get('incremental_strategy') == 'affected' %}
  {% do models.append(node.name) %}
{% endfor %}
delete from {{ state_table() }} where model_name not in ('{{ models | join("', '") }}');
delete from {{ affected_table() }} where model_name not in ('{{ models | join("', '") }}');
delete from core.row_changes
where xid < (
  select min(read_below_xid) from {{ state_table() }} having count(read_below_xid) = {{ models | length }}
);
{% endmacro %}
