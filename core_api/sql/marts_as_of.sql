SELECT as_of FROM analytics.organisation_dashboard WHERE organisation_id = %(organisation_id)s
