INSERT INTO core.audit_log
  (organisation_id, actor_principal_id, actor_role, action, entity, entity_id, session_id, purpose, details)
VALUES (core.current_organisation_id(), %(actor_principal_id)s, %(actor_role)s, %(action)s, %(entity)s, %(entity_id)s,
        %(session_id)s, %(purpose)s, %(details)s)
RETURNING id
