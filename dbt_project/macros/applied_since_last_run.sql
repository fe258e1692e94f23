{# In an increment, the rows applied since the newest one already here. applied_at is taken before its transaction
   commits, so rows are read again for late_commit_hours: replacing a row by itself changes nothing. #}
{% macro applied_since_last_run() %}
{% if is_incremental() %}
where applied_at > (
  select coalesce(max(applied_at), '-infinity') - interval '{{ var("late_commit_hours") }} hours' from {{ this }}
)
{% endif %}
{% endmacro %}
