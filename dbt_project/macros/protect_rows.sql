{# The last step of a build, inside its transaction: forced row-level security, policies and grants, so that the table is
   never visible without them, and how far the change log was read. An increment leaves the table and its policies as
   they are.

   The builder sees everything; a clinic's analyst the organisations of its login (session_user, which SET ROLE does not
   change); the Core API the organisation of its transaction; the console whole tables, given to it only where a model
   names it as a reader. A model without any tenant's row says so: meta: {rows_for: everybody}. #}
{% macro finish_build(readers) %}
{% if config.get('materialized') not in ('table', 'incremental') %}{{ return('') }}{% endif %}
{% if config.get('incremental_strategy') != 'affected' or should_full_refresh() %}
{{ protect_rows(readers) }}
{% endif %}
{{ end_refresh() }}
{% endmacro %}

{% macro protect_rows(readers) %}
{% set is_for_everybody = config.get('meta', {}).get('rows_for') == 'everybody' %}
{% set who = {
  'restartix_analyst': "organisation_id in (
     select a.organisation_id from core.analyst_organisations as a where a.login = session_user)",
  'restartix_core_api': "organisation_id = (select core.current_organisation_id())",
  'restartix_console': "true",
} %}
alter table {{ this }} enable row level security, force row level security;
drop policy if exists builder on {{ this }};
create policy builder on {{ this }} to restartix_analytics_builder using (true) with check (true);
{% for role in readers %}
drop policy if exists {{ role }} on {{ this }};
create policy {{ role }} on {{ this }} for select to {{ role }}
  using ({{ 'true' if is_for_everybody else who[role] }});
grant select on {{ this }} to {{ role }};
{% endfor %}
{% endmacro %}
