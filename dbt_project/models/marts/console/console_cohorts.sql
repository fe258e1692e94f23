-- Suppression, per quarter: a cell with 1 to 10 patients is small. Its figures could be had back as the 'all' row
-- minus the shown cells, so the smallest of the others is suppressed with it. Where there is no other, 'all' has fewer
-- than 11 patients itself, or at least two small cells hide in it together. One population feeds every figure of a
-- cell (sessions whose form and range of motion are both known), so that none rests on fewer patients than it has.
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

decided as (
  select
    *,
    case
      -- A running quarter changes every night: two nights' difference would be one patient's figures.
      when quarter_start >= date_trunc('quarter', {{ as_of() }} at time zone 'UTC')::date then 'open_quarter'
      when is_small then 'small_cell'
      when not is_total and small_cells > 0 and size_order = 1 then 'complementary'
      else 'none'
    end as suppression
  from judged
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
