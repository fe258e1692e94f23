SELECT EXISTS (SELECT FROM core.patient_treatment_plans WHERE treatment_plan_id = %(treatment_plan_id)s) AS is_assigned
