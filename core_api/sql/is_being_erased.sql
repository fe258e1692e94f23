SELECT core.is_being_erased(%(patient_id)s) AS is_being_erased
