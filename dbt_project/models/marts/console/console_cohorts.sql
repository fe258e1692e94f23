-- Suppression, per quarter: a cell with 1 to 10 patients is small. Its figures could be had back as the 'all' row
-- minus the shown cells, so the smallest of the others is suppressed with it. That leaves an interval, which can be
-- narrow: 1 and 11 make 12, and nothing else of that kind does. So 'all' is shown only where every small cell could
-- still be anything from 1 to 10 to somebody who knows these rules: that hidden cells are small or not, and that the
-- other one is no larger than the smallest that is shown. Else 'all' is suppressed too. One population feeds every
-- figure of a cell (sessions whose form and range of motion are both known), so that none rests on fewer patients.
with

cells as (
  select * from {{ ref('int_profile_quarters') }}
),

judged as (
  select
    cells.*,
    cells.patients < {{ var('minimum_cell_patients') }} as is_small,
    count(*) filter (where not cells.is_total and cells.patients < {{ var('minimum_cell_patients') }})
      over quarter as small_cells,
    row_number() over (
      partition by cells.quarter_start, cells.is_total, cells.patients < {{ var('minimum_cell_patients') }}
      order by cells.patients, cells.movement_profile
    ) as size_order
  from cells
  window quarter as (partition by cells.quarter_start)
),

chosen as (
  select
    *,
    not is_total and (is_small or (small_cells > 0 and size_order = 1)) as is_hidden
  from judged
),

bounded as (
  select
    *,
    sum(patients) filter (where is_hidden) over quarter as hidden_patients,
    count(*) filter (where is_hidden and not is_small) over quarter as other_hidden_cells,
    min(patients) filter (where not is_total and not is_hidden) over quarter as smallest_shown
  from chosen
  window quarter as (partition by quarter_start)
),

protected as (
  select
    *,
    -- At worst nobody does two exercises, and the total gives the sum of the hidden cells.
    -- Upwards: the other small cells have one patient each, the other hidden cell as few as it may.
    hidden_patients - (small_cells - 1)
    - other_hidden_cells * {{ var('minimum_cell_patients') }} >= {{ var('minimum_cell_patients') }} - 1
    -- Downwards: the other small cells have as many as they may, the other hidden cell as many as the smallest shown.
    and (
      (other_hidden_cells > 0 and smallest_shown is null)
      or hidden_patients - (small_cells - 1) * ({{ var('minimum_cell_patients') }} - 1)
      - case when other_hidden_cells > 0 then smallest_shown else 0 end <= 1
    ) as is_wide
  from bounded
),

decided as (
  select
    *,
    case
      -- A quarter that still changes is not shown: two nights' difference would be one patient's figures. What begins
      -- on its last evening is sent for hours more, then waits for the sweep, the finaliser and the next night.
      when
        quarter_start + interval '3 months' + make_interval(days => {{ var('quarter_settles_days') }})
        > {{ as_of() }} at time zone 'UTC'
        then 'open_quarter'
      when is_small then 'small_cell'
      when is_hidden then 'complementary'
      when is_total and small_cells > 0 and not is_wide then 'complementary'
      else 'none'
    end as suppression
  from protected
)

select
  quarter_start,
  movement_profile,
  suppression,
  {% for measure in ['patients', 'exercise_sessions', 'reps', 'mean_form_score', 'mean_rom_deg'] -%}
  case when suppression = 'none' then {{ measure }} end as {{ measure }},
  {% endfor -%}
  {{ as_of() }} as as_of
from decided
