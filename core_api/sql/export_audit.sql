SELECT a.id, a.occurred_at, a.actor_role, a.action, a.entity, a.entity_id, a.session_id, a.purpose
FROM core.audit_log a JOIN core.patients p ON p.id = %(patient_id)s
WHERE a.actor_principal_id = p.principal_id OR (a.entity = 'core.patients' AND a.entity_id = p.id::text)
ORDER BY a.id
