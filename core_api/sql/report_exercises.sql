-- What the patient reports goes to the exercise's latest log of this treatment session; a skip goes to all of them.
WITH reported AS (
  SELECT * FROM unnest(%(exercise_ids)s::bigint[], %(actual_sets)s::integer[], %(actual_reps)s::integer[],
                       %(skipped)s::boolean[]) AS r (exercise_id, actual_sets, actual_reps, skipped)
), latest AS (
  SELECT max(l.id) AS id FROM core.patient_exercise_logs l
  WHERE l.session_completion_id = %(treatment_session_id)s GROUP BY l.exercise_id
)
UPDATE core.patient_exercise_logs l
SET actual_sets = coalesce(r.actual_sets, l.actual_sets),
    actual_reps = coalesce(r.actual_reps, l.actual_reps),
    actual_reps_source = CASE WHEN r.actual_reps IS NULL THEN l.actual_reps_source ELSE 'patient' END,
    skipped = r.skipped,
    -- Said to be done; a report of none is not.
    reported = NOT r.skipped AND r.actual_sets IS DISTINCT FROM 0 AND r.actual_reps IS DISTINCT FROM 0
FROM reported r
WHERE l.session_completion_id = %(treatment_session_id)s AND l.exercise_id = r.exercise_id
  AND (r.skipped OR l.id IN (SELECT id FROM latest))
