-- A plan's sittings over all its weeks, as the marts tell them. %(plan_id)s bigint
SELECT coalesce(sum(sessions_completed), 0)::integer, coalesce(sum(sessions_skipped), 0)::integer
FROM analytics.plan_weekly_adherence WHERE patient_treatment_plan_id = %(plan_id)s
