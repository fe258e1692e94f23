-- Plans as time passes, as restartix_sweeper.

-- name: expire
SELECT core.expire_plans(%(max_plans)s)
