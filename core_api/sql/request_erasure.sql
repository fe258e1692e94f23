SELECT erasure_id, is_new FROM core.request_erasure(%(erasure_id)s, %(patient_id)s, %(retained_patient_id)s, %(reference)s)
