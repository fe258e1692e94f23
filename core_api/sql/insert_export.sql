INSERT INTO core.exports (id, organisation_id, patient_id, path, size_bytes, sha256)
SELECT %(export_id)s, core.current_organisation_id(), p.id, %(path)s, %(size_bytes)s, %(sha256)s
FROM core.patients p
WHERE p.id = %(patient_id)s AND NOT core.is_being_erased(p.id)
RETURNING id
