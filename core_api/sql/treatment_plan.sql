SELECT id, name FROM core.treatment_plans WHERE id = %(treatment_plan_id)s
