SELECT sequence, link FROM core.audit_heads WHERE organisation_id = core.current_organisation_id()
