INSERT INTO core.exports (id, organisation_id, patient_id, path, size_bytes, sha256)
VALUES (%(export_id)s, core.current_organisation_id(), %(patient_id)s, %(path)s, %(size_bytes)s, %(sha256)s)
RETURNING id
