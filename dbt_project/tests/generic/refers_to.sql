{# Each column's known values are found in the column of the same name of the model it refers to. One query a model, where
   dbt's own `relationships` takes one a column. #}
{% test refers_to(model, references) %}
with

tested as (
  select {{ references.keys() | join(', ') }} from {{ model }}
)

{% for column, target in references.items() %}
select '{{ column }}' as column_name, tested.{{ column }} as dangling
from tested
where
  tested.{{ column }} is not null
  and not exists (select 1 from {{ target }} as target where target.{{ column }} = tested.{{ column }})
{% if not loop.last %}union all{% endif %}
{% endfor %}
{% endtest %}
