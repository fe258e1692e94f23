INSERT INTO core.personal_references
  (organisation_id, patient_id, exercise_id, session_id, revision, blob_version_id, movement_profile, rep_count,
   reference, learnt_at)
VALUES (%(organisation_id)s, %(patient_id)s, %(exercise_id)s, %(session_id)s, %(revision)s, %(blob_version_id)s,
        %(movement_profile)s, %(rep_count)s, %(reference)s::jsonb, %(now)s)
RETURNING id
