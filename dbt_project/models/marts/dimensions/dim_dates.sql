-- The calendar, and the time spine of the metrics.
select
  day::date as date_day,
  date_trunc('week', day)::date as week_start,
  date_trunc('month', day)::date as month_start,
  date_trunc('quarter', day)::date as quarter_start
from generate_series(timestamp '2020-01-01', timestamp '2049-12-31', interval '1 day') as days (day)
