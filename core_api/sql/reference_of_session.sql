SELECT r.patient_id, r.exercise_id, r.marked_at, p.revision AS learnt_revision, p.movement_profile, p.rep_count
FROM core.reference_sessions r
-- A mark from before references were learnt from the replay has taught nothing until it is said again.
LEFT JOIN core.personal_references p ON p.session_id = r.session_id AND p.patient_id = r.patient_id
  AND p.exercise_id = r.exercise_id AND p.ended_at IS NULL
WHERE r.session_id = %(session_id)s
