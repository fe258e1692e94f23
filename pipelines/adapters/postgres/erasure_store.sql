-- The erasure's statements, for the role restartix_sweeper; each calls one function of infra/migrations/0111 or 0124.

-- name: request
SELECT core.erasure_request(%(erasure_id)s, %(organisation_id)s, %(patient_id)s, %(retained_patient_id)s,
                            %(requested_by)s, %(principal_check)s) AS erasure_id

-- name: revoked
SELECT core.erasure_revoke(%(erasure_id)s) AS counts

-- name: closed
SELECT core.erasure_close(%(erasure_id)s) AS counts

-- name: marked
SELECT core.erasure_mark(%(erasure_id)s) AS counts

-- name: objects_removed
SELECT core.erasure_objects_done(%(erasure_id)s) AS counts

-- name: rows_dropped
SELECT core.erasure_drop_rows(%(erasure_id)s) AS counts

-- name: disks_clean
SELECT core.erasure_disks_done(%(erasure_id)s) AS counts

-- name: depersonalised
SELECT core.erasure_depersonalise(%(erasure_id)s) AS counts

-- name: exports_removed
SELECT core.erasure_exports_done(%(erasure_id)s, %(removed)s::uuid[], %(handed_out)s::uuid[]) AS counts

-- name: unfinished
SELECT core.erasure_unfinished(%(erasure_id)s) AS sessions

-- name: objects_due
SELECT organisation_id, session_id FROM core.erasure_objects_due(%(erasure_id)s)

-- name: sessions
SELECT organisation_id, session_id FROM core.erasure_sessions_of(%(erasure_id)s)

-- name: object_removed
SELECT core.erasure_objects_removed(%(erasure_id)s, %(session_id)s, %(versions)s, %(bytes)s)

-- name: disks
SELECT node_id, sessions, waiting, clean_at, destroyed_at FROM core.erasure_disks(%(erasure_id)s)

-- name: node_destroyed
SELECT core.erasure_node_destroyed(%(erasure_id)s, %(node_id)s) AS sessions

-- name: exports
SELECT export_id, path, made_at FROM core.erasure_exports(%(erasure_id)s)

-- name: reopen
SELECT core.erasure_reopen(%(erasure_id)s) AS steps

-- name: handed_out
SELECT export_id, file_name, made_at FROM core.erasure_handed_out(%(erasure_id)s)

-- name: remains
SELECT place, remaining FROM core.erasure_remains(%(erasure_id)s)

-- name: certify
SELECT core.erasure_certify(%(erasure_id)s, %(certificate)s) AS certificate

-- name: state
SELECT organisation_id, patient_id, retained_patient_id, principal_check, requested_by, requested_at, certificate, steps
FROM core.erasure_state(%(erasure_id)s)

-- name: due
SELECT erasure_id, certified FROM core.erasures_due(%(erasures_max)s)

-- name: node_due
SELECT session_id FROM telemetry.erasures_of_node(%(node_id)s, %(sessions_max)s)

-- name: node_confirm
SELECT telemetry.confirm_disk_clean(%(node_id)s, %(session_ids)s)

-- name: mart_tables
-- All that is kept, also what the builder did not make. A count of 0 says something only where every row is seen: the
-- table may be read, and where row-level security holds, a policy shows the builder all of it and none takes from that.
SELECT n.nspname AS schema_name, c.relname AS table_name,
       bool_or(a.attname = 'patient_id') AS has_patient, bool_or(a.attname = 'session_id') AS has_session,
       has_table_privilege(c.oid, 'SELECT') AND (
         NOT row_security_active(c.oid)
         OR coalesce((
           SELECT bool_or(p.polpermissive AND pg_get_expr(p.polqual, p.polrelid) = 'true') AND bool_and(p.polpermissive)
           FROM pg_policy p
           WHERE p.polrelid = c.oid AND p.polcmd IN ('*', 'r')
             AND EXISTS (SELECT FROM unnest(p.polroles) AS r WHERE r = 0 OR pg_has_role(r, 'USAGE'))), false)
       ) AS is_seen
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
WHERE n.nspname LIKE 'analytics%%' AND c.relkind IN ('r', 'p', 'm') AND a.attname IN ('patient_id', 'session_id')
  AND NOT a.attisdropped
GROUP BY c.oid, 1, 2 ORDER BY 1, 2
