SELECT f.id, f.organisation_id, f.form_template_id, t.name AS form_template_name,
       t.version AS form_template_version, t.questions, f.patient_id, f.session_completion_id, f.submitted_at,
       f.responses_encrypted
FROM core.forms f JOIN core.form_templates t ON t.id = f.form_template_id
WHERE f.patient_id = %(patient_id)s ORDER BY f.id
