SELECT organisation_id FROM core.audited_organisations()
