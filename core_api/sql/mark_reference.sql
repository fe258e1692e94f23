INSERT INTO core.reference_sessions AS r (patient_id, exercise_id, organisation_id, session_id, marked_by, marked_at)
VALUES (%(patient_id)s, %(exercise_id)s, %(organisation_id)s, %(session_id)s, %(marked_by)s, %(marked_at)s)
ON CONFLICT (patient_id, exercise_id) DO UPDATE
SET session_id = excluded.session_id, marked_by = excluded.marked_by, marked_at = excluded.marked_at
WHERE r.session_id <> excluded.session_id
RETURNING session_id
