SELECT organisation_id, created FROM core.provision_organisation(%(name)s)
