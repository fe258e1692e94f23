DELETE FROM core.treatment_plan_exercises WHERE treatment_plan_id = %(treatment_plan_id)s
