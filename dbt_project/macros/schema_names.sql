{# A model's schema is exactly the one named in dbt_project.yml: the migrations made these three, and no other. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
  {{ custom_schema_name | trim if custom_schema_name else target.schema }}
{%- endmacro %}
