SELECT r.id, r.exercise_id, r.session_id, r.revision, r.movement_profile, r.rep_count, r.reference, r.learnt_at, r.ended_at
FROM core.personal_references r WHERE r.patient_id = %(patient_id)s ORDER BY r.id
