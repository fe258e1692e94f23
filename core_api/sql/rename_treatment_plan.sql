UPDATE core.treatment_plans SET name = %(name)s WHERE id = %(treatment_plan_id)s
