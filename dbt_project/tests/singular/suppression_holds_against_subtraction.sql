-- With a quarter's total shown, a single hidden cell is the total minus the others.
{{ config(group='console', meta={'dagster': {'ref': {'name': 'console_cohorts'}}}) }}

select quarter_start, count(*) as hidden_cells
from {{ ref('console_cohorts') }}
where movement_profile <> 'all' and suppression in ('small_cell', 'complementary')
group by quarter_start
having
  count(*) = 1
  and bool_or(quarter_start in (
    select total.quarter_start from {{ ref('console_cohorts') }} as total
    where total.movement_profile = 'all' and total.suppression = 'none'
  ))
