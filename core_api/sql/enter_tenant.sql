SELECT set_config('app.org_id', %(organisation_id)s, true)
