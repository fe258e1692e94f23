-- A clinic's plans with every sitting, as the clinic app wrote them: nothing of dbt. %(organisation_id)s bigint
SELECT p.patient_id, p.status, p.started_on, p.ended_at, p.sessions_total, p.frequency_per_week, patients.time_zone,
       coalesce(
         jsonb_agg(jsonb_build_object('status', s.status, 'started_at', s.started_at,
                                      'session_number', s.session_number, 'pain_level_before', s.pain_level_before))
           FILTER (WHERE s.id IS NOT NULL),
         '[]') AS sittings
FROM core.patient_treatment_plans p
JOIN core.patients ON patients.id = p.patient_id
LEFT JOIN core.patient_session_completions s ON s.patient_treatment_plan_id = p.id
WHERE p.organisation_id = %(organisation_id)s
GROUP BY p.id, patients.time_zone
