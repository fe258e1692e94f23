SELECT ptp.id, ptp.organisation_id, ptp.patient_id, ptp.treatment_plan_id, tp.name AS treatment_plan_name,
       ptp.specialist_id, ptp.service_plan_id, ptp.sessions_total, ptp.sessions_completed, ptp.sessions_skipped,
       ptp.frequency_per_week, ptp.status, ptp.started_on, ptp.ends_on, ptp.ended_at, ptp.end_note_encrypted
FROM core.patient_treatment_plans ptp
JOIN core.treatment_plans tp ON tp.id = ptp.treatment_plan_id
JOIN core.patients p ON p.id = ptp.patient_id
WHERE ptp.id > coalesce(%(after)s::bigint, 0)
  AND (%(principal_id)s::uuid IS NULL OR p.principal_id = %(principal_id)s)
  AND (%(patient_id)s::bigint IS NULL OR ptp.patient_id = %(patient_id)s)
  AND (%(status)s::text IS NULL OR ptp.status = %(status)s)
ORDER BY ptp.id LIMIT %(fetch)s
