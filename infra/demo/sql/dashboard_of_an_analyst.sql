-- The one dashboard that an analyst's login sees, as JSON. For psql: no parameters.
SELECT to_jsonb(shown) FROM analytics.organisation_dashboard AS shown
