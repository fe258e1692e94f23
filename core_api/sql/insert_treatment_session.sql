INSERT INTO core.patient_session_completions
  (organisation_id, patient_treatment_plan_id, patient_id, session_number, status, started_at, pain_level_before,
   exercises_total, created_at)
SELECT %(organisation_id)s, %(plan_id)s, %(patient_id)s,
       1 + coalesce((SELECT max(session_number) FROM core.patient_session_completions
                     WHERE patient_treatment_plan_id = %(plan_id)s), 0),
       'in_progress', %(started_at)s, %(pain_level_before)s,
       (SELECT count(*) FROM core.treatment_plan_exercises WHERE treatment_plan_id = %(treatment_plan_id)s),
       %(now)s
RETURNING id
