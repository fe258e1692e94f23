-- migrate:up
SET LOCAL ROLE restartix_owner;

-- A month goes in two steps, each its own transaction: detached, when its last day is past the cutoff and no row in it
-- is younger; then, looked at once more, dropped. What was detached and not dropped is found again the next night.

CREATE FUNCTION telemetry.check_partitioned(parent_name text) RETURNS void
  LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF parent_name IS NULL OR parent_name NOT IN ('pose_session_metrics', 'pose_rep_metrics', 'media_session_metrics',
                                                'media_buffering_events') THEN
    RAISE EXCEPTION '% is not partitioned by month', parent_name USING ERRCODE = 'invalid_parameter_value';
  END IF;
END
$$;

-- The months that are due, by the bounds Postgres keeps, not by their names. Rows are Postgres' estimate.
CREATE FUNCTION telemetry.due_partitions(parent_name text, kept_days integer)
  RETURNS TABLE (name text, estimated_rows bigint, bytes bigint)
  LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = telemetry, pg_temp AS $$
DECLARE
  cutoff timestamptz := telemetry.expiry_cutoff(kept_days, 365);
BEGIN
  PERFORM telemetry.check_partitioned(parent_name);
  RETURN QUERY
  SELECT c.relname::text, greatest(c.reltuples, 0)::bigint, pg_total_relation_size(c.oid)
  FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
  WHERE i.inhparent = to_regclass('telemetry.' || parent_name)
    AND (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'TO \(''([^'']+)''\)'))[1]::timestamptz <= cutoff
  ORDER BY 1;
END
$$;

DROP FUNCTION telemetry.drop_expired_partitions;

CREATE FUNCTION telemetry.detach_expired_partitions(parent_name text, kept_days integer) RETURNS text[]
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = telemetry, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
  cutoff timestamptz := telemetry.expiry_cutoff(kept_days, 365);
  child text;
  detached text[] := '{}';
  is_young boolean;
BEGIN
  PERFORM telemetry.check_partitioned(parent_name);
  PERFORM pg_advisory_xact_lock(hashtext('telemetry.ensure_partitions'));
  FOR child IN SELECT due.name FROM telemetry.due_partitions(parent_name, kept_days) AS due LOOP
    EXECUTE format('SELECT EXISTS (SELECT FROM telemetry.%I WHERE tableoid = %L::regclass AND started_at >= $1)',
                   parent_name, 'telemetry.' || child) INTO is_young USING cutoff;
    IF is_young THEN
      RAISE EXCEPTION '% still holds a row that is younger than % days', child, kept_days
        USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    EXECUTE format('ALTER TABLE telemetry.%I DETACH PARTITION telemetry.%I', parent_name, child);
    detached := detached || child;
  END LOOP;
  RETURN detached;
END
$$;

-- Drops the oldest table that once was a month of the parent, one a call and transaction; no row where there is none.
-- One with a row inside its horizon stays, and the call fails.
CREATE FUNCTION telemetry.drop_detached_partition(parent_name text, kept_days integer)
  RETURNS TABLE (name text, gone_rows bigint, bytes bigint)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = telemetry, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
  cutoff timestamptz := telemetry.expiry_cutoff(kept_days, 365);
  child text;
  young boolean;
BEGIN
  PERFORM telemetry.check_partitioned(parent_name);
  PERFORM pg_advisory_xact_lock(hashtext('telemetry.ensure_partitions'));
  SELECT c.relname INTO child FROM pg_class c
  WHERE c.relnamespace = 'telemetry'::regnamespace AND c.relkind = 'r' AND NOT c.relispartition
    AND CASE WHEN c.relname ~ ('^' || parent_name || '_[0-9]{6}$')
          THEN to_date(right(c.relname, 6), 'YYYYMM') + interval '1 month' <= cutoff AT TIME ZONE 'UTC' END
  ORDER BY 1 LIMIT 1;
  IF child IS NULL THEN
    RETURN;
  END IF;
  -- Forced row-level security without a policy would show its owner an empty table.
  EXECUTE format('ALTER TABLE telemetry.%I NO FORCE ROW LEVEL SECURITY', child);
  EXECUTE format('SELECT EXISTS (SELECT FROM telemetry.%I WHERE started_at >= $1), count(*) FROM telemetry.%I',
                 child, child) INTO young, gone_rows USING cutoff;
  IF young THEN
    RAISE EXCEPTION '% holds a row that is younger than % days', child, kept_days
      USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  name := child;
  bytes := pg_total_relation_size(format('telemetry.%I', child)::regclass);
  EXECUTE format('DROP TABLE telemetry.%I', child);
  RETURN NEXT;
END
$$;

-- How large each kind of data is, by Postgres' own statistics: rows are an estimate, bytes include indexes.
CREATE FUNCTION telemetry.kept_sizes() RETURNS TABLE (data text, estimated_rows bigint, bytes bigint)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = core, telemetry, bus, pg_temp AS $$
  WITH tables (data, relation) AS (VALUES
    ('treatment_sessions', 'core.patient_session_completions'::regclass),
    ('other_forms', 'core.forms'), ('consents', 'core.consents'), ('audit_log', 'core.audit_log'),
    ('replay_index_default', 'telemetry.blob_members'), ('replay_index_clinical', 'telemetry.blob_members'),
    ('media_events_key', 'telemetry.sessions'), ('bus_events', 'bus.events'), ('dead_letters', 'bus.deliveries'),
    ('row_changes', 'core.row_changes'), ('idempotency_keys', 'core.idempotency_keys'),
    ('telemetry.pose_rep_metrics', 'telemetry.pose_rep_metrics'),
    ('telemetry.pose_session_metrics', 'telemetry.pose_session_metrics'),
    ('telemetry.media_buffering_events', 'telemetry.media_buffering_events'),
    ('telemetry.media_session_metrics', 'telemetry.media_session_metrics'))
  SELECT t.data, sum(greatest(c.reltuples, 0))::bigint, sum(pg_total_relation_size(c.oid))::bigint
  FROM tables t CROSS JOIN LATERAL pg_partition_tree(t.relation) p JOIN pg_class c ON c.oid = p.relid
  WHERE p.isleaf GROUP BY t.data
  UNION ALL
  SELECT t.data, greatest(c.reltuples, 0)::bigint, pg_total_relation_size(c.oid)
  FROM tables t JOIN pg_class c ON c.oid = t.relation WHERE c.relkind = 'r'
$$;

REVOKE ALL ON FUNCTION telemetry.check_partitioned, telemetry.due_partitions, telemetry.detach_expired_partitions,
  telemetry.drop_detached_partition, telemetry.kept_sizes FROM PUBLIC;
GRANT EXECUTE ON FUNCTION telemetry.due_partitions, telemetry.detach_expired_partitions,
  telemetry.drop_detached_partition, telemetry.kept_sizes TO restartix_sweeper;

RESET ROLE;

-- migrate:down
SET LOCAL ROLE restartix_owner;
DROP FUNCTION telemetry.kept_sizes, telemetry.drop_detached_partition, telemetry.detach_expired_partitions,
  telemetry.due_partitions, telemetry.check_partitioned;
CREATE FUNCTION telemetry.drop_expired_partitions(parent_name text, kept_days integer) RETURNS text[]
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = telemetry, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
  cutoff timestamptz := telemetry.expiry_cutoff(kept_days, 365);
  child text;
  dropped text[] := '{}';
BEGIN
  IF parent_name NOT IN ('pose_session_metrics', 'pose_rep_metrics', 'media_session_metrics',
                         'media_buffering_events') THEN
    RAISE EXCEPTION '% is not partitioned by month', parent_name USING ERRCODE = 'invalid_parameter_value';
  END IF;
  PERFORM pg_advisory_xact_lock(hashtext('telemetry.ensure_partitions'));
  FOR child IN
    SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = to_regclass('telemetry.' || parent_name)
      -- CASE, because the planner may look at the names of other tables first, and those are no months.
      AND CASE WHEN c.relname ~ ('^' || parent_name || '_[0-9]{6}$')
            THEN to_date(right(c.relname, 6), 'YYYYMM') + interval '1 month' <= cutoff AT TIME ZONE 'UTC' END
    ORDER BY 1
  LOOP
    EXECUTE format('DROP TABLE telemetry.%I', child);
    dropped := dropped || child;
  END LOOP;
  RETURN dropped;
END
$$;
REVOKE ALL ON FUNCTION telemetry.drop_expired_partitions FROM PUBLIC;
GRANT EXECUTE ON FUNCTION telemetry.drop_expired_partitions TO restartix_sweeper;
RESET ROLE;
