{# After an increment: rows whose source row is gone (retention, erasure, a revision without them) go too. #}
{% macro prune_vanished(source_relation, keys) %}
{% if is_incremental() %}
delete from {{ this }} as kept
where not exists (
  select 1 from {{ source_relation }} as current_rows
  where {% for key in keys %}current_rows.{{ key }} = kept.{{ key }}{{ ' and ' if not loop.last }}{% endfor %}
)
{% endif %}
{% endmacro %}
