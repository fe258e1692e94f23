SELECT psc.* FROM core.patient_session_completions psc
WHERE psc.patient_id = %(patient_id)s ORDER BY psc.id
