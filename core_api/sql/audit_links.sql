SELECT c.sequence, c.audit_id, c.chained_at, c.actor_commitment, c.row_digest, c.link,
       a.id, a.organisation_id, a.occurred_at, a.actor_principal_id, a.actor_salt, a.actor_role, a.action, a.entity,
       a.entity_id, a.session_id, a.purpose, a.details::text AS details, a.state_before, a.state_after
FROM core.audit_chain c LEFT JOIN core.audit_log a ON a.id = c.audit_id
WHERE c.organisation_id = core.current_organisation_id() AND c.sequence > %(after)s
ORDER BY c.sequence LIMIT %(limit)s
