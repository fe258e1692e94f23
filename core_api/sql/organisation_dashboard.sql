SELECT organisation_id, patients, plans_total, plans_active, plans_completed, plans_expired, plans_cancelled,
       plan_completion_percent, plans_with_pain_reduction, pain_reduction_points, important_pain_reduction_percent,
       sessions_completed, sessions_skipped, sessions_expected, adherence_percent, as_of
FROM analytics.organisation_dashboard
WHERE organisation_id = %(organisation_id)s
