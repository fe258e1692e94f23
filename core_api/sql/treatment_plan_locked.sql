-- FOR UPDATE, because assigning it refers to it (FOR KEY SHARE): what is prescribed cannot change under an assignment.
SELECT id, name FROM core.treatment_plans WHERE id = %(treatment_plan_id)s FOR UPDATE
