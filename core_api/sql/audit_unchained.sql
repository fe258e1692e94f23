SELECT a.id FROM core.audit_log a
WHERE a.organisation_id = core.current_organisation_id()
  AND NOT EXISTS (SELECT FROM core.audit_chain c WHERE c.audit_id = a.id)
ORDER BY a.id LIMIT 1
