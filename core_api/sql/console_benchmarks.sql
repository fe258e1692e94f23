-- Suppressed rows show that a cell exists, and nothing more: see docs/analytics.md.
SELECT quarter_start, movement_profile, suppression, patients, exercise_sessions, reps, mean_form_score, mean_rom_deg,
       as_of
FROM analytics.console_cohorts
WHERE (%(after_quarter)s::date IS NULL
       OR (quarter_start, movement_profile) < (%(after_quarter)s, %(after_profile)s::text))
ORDER BY quarter_start DESC, movement_profile DESC
LIMIT %(limit)s
