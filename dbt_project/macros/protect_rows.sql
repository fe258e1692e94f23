{# Forced row-level security, policies and grants, run inside the build transaction: the table is never visible without
   them. The builder sees everything; a clinic's analyst the organisations of its login (session_user, which SET ROLE
   does not change); the Core API the organisation of its transaction; the console whole tables, given to it only where
   a model names it as a reader. #}
{% macro protect_rows(readers) %}
{% set who = {
  'restartix_analyst': "organisation_id in (
     select a.organisation_id from core.analyst_organisations as a where a.login = session_user)",
  'restartix_core_api': "organisation_id = (select core.current_organisation_id())",
  'restartix_console': "true",
} %}
{% if config.get('materialized') not in ('table', 'incremental') %}{{ return('') }}{% endif %}
alter table {{ this }} enable row level security, force row level security;
drop policy if exists builder on {{ this }};
create policy builder on {{ this }} to restartix_analytics_builder using (true) with check (true);
{% for role in readers %}
drop policy if exists {{ role }} on {{ this }};
create policy {{ role }} on {{ this }} for select to {{ role }} using ({{ who[role] }});
grant select on {{ this }} to {{ role }};
{% endfor %}
{% endmacro %}
