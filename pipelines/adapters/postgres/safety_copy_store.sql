-- The finaliser's statements on telemetry.safety_copies and telemetry.safety_copy_parts.

-- name: load
SELECT session_id, organisation_id, object_key, upload_id
FROM telemetry.safety_copies WHERE session_id = %(session_id)s

-- name: parts
SELECT part_number, etag, sha256, size_bytes, member_hashes, member_received_at, member_bytes
FROM telemetry.safety_copy_parts WHERE session_id = %(session_id)s ORDER BY part_number

-- name: begin
INSERT INTO telemetry.safety_copies (session_id, organisation_id, node_id, object_key, upload_id)
VALUES (%(session_id)s, %(organisation_id)s, %(node_id)s, %(key)s, %(upload_id)s)
ON CONFLICT (session_id) DO NOTHING

-- name: add
INSERT INTO telemetry.safety_copy_parts (session_id, upload_id, part_number, organisation_id, etag, sha256, size_bytes,
                                         member_hashes, member_received_at, member_bytes)
SELECT c.session_id, c.upload_id, %(part_number)s, c.organisation_id, %(etag)s, %(sha256)s, %(size_bytes)s,
       %(member_hashes)s::bytea[], %(member_received_at)s::timestamptz[], %(member_bytes)s::integer[]
FROM telemetry.safety_copies c WHERE c.session_id = %(session_id)s AND c.upload_id = %(upload_id)s
ON CONFLICT (session_id, part_number) DO NOTHING

-- name: forget
DELETE FROM telemetry.safety_copies WHERE session_id = %(session_id)s AND upload_id = %(upload_id)s

-- name: settled
SELECT session_id, organisation_id FROM telemetry.settled_safety_copies(%(node_id)s, %(lost_s)s, %(max_copies)s)
