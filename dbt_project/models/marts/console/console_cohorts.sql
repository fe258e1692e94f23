-- Suppression, per quarter: a cell with 1 to 10 patients is small. Its figures could be had back as the 'all' row
-- minus the shown cells, so the smallest of the others is suppressed with it. Where there is no other, 'all' has fewer
-- than 11 patients itself, or at least two small cells hide in it together. One population feeds every figure of a cell (sessions whose form
-- and range of motion are both known), so that no figure rests on fewer patients than the cell has.
with

population as (
  select
    exercises.movement_profile,
    pose.patient_id,
    pose.rep_count,
    pose.average_form_score,
    pose.rom_mean_deg,
    date_trunc('quarter', pose.started_at at time zone 'UTC')::date as quarter_start
  from {{ ref('int_pose_sessions') }} as pose
  inner join {{ ref('stg_core__exercises') }} as exercises using (exercise_id)
  where pose.average_form_score is not null and pose.rom_mean_deg is not null
),

cells as (
  select
    quarter_start,
    coalesce(movement_profile, 'all') as movement_profile,
    grouping(movement_profile) = 1 as is_total,
    count(distinct patient_id)::integer as patients,
    count(*)::integer as exercise_sessions,
    sum(rep_count)::bigint as reps,
    round(avg(average_form_score), 1) as mean_form_score,
    round(avg(rom_mean_deg), 1) as mean_rom_deg
  from population
  group by grouping sets ((quarter_start, movement_profile), (quarter_start))
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
