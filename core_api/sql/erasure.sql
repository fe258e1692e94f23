SELECT e.id, e.patient_id, e.requested_by AS reference, e.requested_at, e.certificate,
       (SELECT coalesce(jsonb_agg(jsonb_build_object('step', s.step, 'done_at', s.done_at, 'counts', s.counts)
                                  ORDER BY s.done_at), '[]')
        FROM core.erasure_steps s WHERE s.erasure_id = e.id AND s.reopened_at IS NULL) AS steps,
       (SELECT coalesce(jsonb_agg(jsonb_build_object('node_id', d.node_id, 'sessions', d.waiting) ORDER BY d.node_id), '[]')
        FROM (SELECT x.node_id, count(*) AS waiting FROM core.erasure_sessions x
              WHERE x.erasure_id = e.id AND x.disk_clean_at IS NULL AND x.disk_destroyed_at IS NULL
              GROUP BY x.node_id) d) AS waiting_for_nodes
FROM core.erasures e
WHERE e.id = %(erasure_id)s
