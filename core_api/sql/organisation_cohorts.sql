SELECT start_month, treatment_plan_id, treatment_plan_name, plans_started, patients, plans_active, plans_completed,
       plans_expired, plans_cancelled, plans_inactive, plans_never_begun, attrition_percent, sessions_completed,
       sessions_expected, adherence_percent, plans_with_pain_reduction, pain_reduction_points,
       completed_plans_with_pain_reduction, completed_pain_reduction_points, important_pain_reduction_percent, as_of
FROM analytics.cohort_outcomes
WHERE organisation_id = %(organisation_id)s
  AND (%(treatment_plan_id)s::bigint IS NULL OR treatment_plan_id = %(treatment_plan_id)s)
  AND (%(after_month)s::date IS NULL
       OR (start_month, treatment_plan_id) < (%(after_month)s, %(after_treatment_plan_id)s::bigint))
ORDER BY start_month DESC, treatment_plan_id DESC
LIMIT %(limit)s
