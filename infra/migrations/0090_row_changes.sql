-- migrate:up
SET LOCAL ROLE restartix_owner;

-- Which rows the marts have to look at again. Statement triggers write one entry a changed row into the change log, a
-- deleted row too (its entry is its tombstone), with the transaction that did it. A reader takes the entries of
-- transactions below its snapshot's xmin: all of these have ended, so none can appear later behind what was read. A time
-- (updated_at) cannot promise that: it is taken before its transaction commits.
CREATE TABLE core.row_changes (
  xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  table_name text NOT NULL,
  organisation_id bigint NOT NULL,
  row_id bigint,
  session_id uuid,
  started_at timestamptz,
  changed_at timestamptz NOT NULL DEFAULT now(),
  CHECK (num_nonnulls(row_id, session_id) = 1)
);
COMMENT ON TABLE core.row_changes IS 'Change log of the tables the marts are made of: short, read and emptied each night.';
COMMENT ON COLUMN core.row_changes.xid IS 'internal: transaction that changed the row';
COMMENT ON COLUMN core.row_changes.table_name IS 'internal: table, without its schema';
COMMENT ON COLUMN core.row_changes.organisation_id IS 'internal: tenant: the clinic the row belongs to';
COMMENT ON COLUMN core.row_changes.row_id IS 'internal: the row''s id; null: a table keyed by session';
COMMENT ON COLUMN core.row_changes.session_id IS 'clinical: exercise session whose rows changed; null: a table keyed by id';
COMMENT ON COLUMN core.row_changes.started_at IS 'clinical: the session''s start, which names the partition';
COMMENT ON COLUMN core.row_changes.changed_at IS 'internal: start of the transaction that changed the row';

-- Up to where entries were removed, read or not (after retention''s bound, or because a table was truncated). Who has
-- not read so far has missed something and has to start from the tables themselves.
CREATE TABLE core.row_changes_lost (
  is_only_row boolean PRIMARY KEY DEFAULT true CHECK (is_only_row),
  below_xid xid8 NOT NULL DEFAULT '0'
);
COMMENT ON TABLE core.row_changes_lost IS 'One row: below which transaction entries of the change log may be missing.';
COMMENT ON COLUMN core.row_changes_lost.is_only_row IS 'internal: keeps the table at one row';
COMMENT ON COLUMN core.row_changes_lost.below_xid IS 'internal: entries of transactions below may be missing';
INSERT INTO core.row_changes_lost DEFAULT VALUES;

ALTER TABLE core.row_changes ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON core.row_changes TO restartix_owner USING (true) WITH CHECK (true);
CREATE POLICY builder ON core.row_changes TO restartix_analytics_builder USING (true);
GRANT SELECT, DELETE ON core.row_changes TO restartix_analytics_builder;
GRANT SELECT ON core.row_changes_lost TO restartix_analytics_builder;

CREATE FUNCTION core.log_changed_ids() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF tg_op = 'INSERT' THEN
    INSERT INTO core.row_changes (table_name, organisation_id, row_id)
    SELECT tg_table_name, organisation_id, id FROM new_rows;
  ELSE
    INSERT INTO core.row_changes (table_name, organisation_id, row_id)
    SELECT tg_table_name, organisation_id, id FROM old_rows;
  END IF;
  RETURN NULL;
END
$$;

CREATE FUNCTION core.log_changed_sessions() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF tg_op = 'INSERT' THEN
    INSERT INTO core.row_changes (table_name, organisation_id, session_id, started_at)
    SELECT DISTINCT tg_table_name, organisation_id, session_id, started_at FROM new_rows;
  ELSE
    INSERT INTO core.row_changes (table_name, organisation_id, session_id, started_at)
    SELECT DISTINCT tg_table_name, organisation_id, session_id, started_at FROM old_rows;
  END IF;
  RETURN NULL;
END
$$;

CREATE FUNCTION core.lose_changes() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  UPDATE core.row_changes_lost SET below_xid = (pg_current_xact_id()::text::numeric + 1)::text::xid8;
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION core.log_changed_ids, core.log_changed_sessions, core.lose_changes FROM PUBLIC;

-- Statement triggers: a bulk statement costs one call. An id or a session's start never changes, so the old rows of an
-- update name the same entries as the new ones.
DO $$
DECLARE
  tracked regclass;
BEGIN
  FOREACH tracked IN ARRAY ARRAY[
    'core.exercises', 'core.patients', 'core.patient_treatment_plans', 'core.patient_session_completions',
    'core.patient_exercise_logs', 'telemetry.pose_session_metrics', 'telemetry.media_session_metrics'
  ]::regclass[] LOOP
    EXECUTE format(
      'CREATE TRIGGER log_inserted AFTER INSERT ON %1$s REFERENCING NEW TABLE AS new_rows
         FOR EACH STATEMENT EXECUTE FUNCTION core.%2$I();
       CREATE TRIGGER log_updated AFTER UPDATE ON %1$s REFERENCING OLD TABLE AS old_rows
         FOR EACH STATEMENT EXECUTE FUNCTION core.%2$I();
       CREATE TRIGGER log_deleted AFTER DELETE ON %1$s REFERENCING OLD TABLE AS old_rows
         FOR EACH STATEMENT EXECUTE FUNCTION core.%2$I();
       CREATE TRIGGER lose_truncated AFTER TRUNCATE ON %1$s
         FOR EACH STATEMENT EXECUTE FUNCTION core.lose_changes()',
      tracked,
      CASE WHEN tracked::text LIKE 'telemetry.%' THEN 'log_changed_sessions' ELSE 'log_changed_ids' END);
  END LOOP;
END
$$;
-- A session's repetitions are written with its row in pose_session_metrics, in one transaction: that row's entry covers
-- them, and a call for each repetition is spared. Retention deletes them on their own.
CREATE TRIGGER log_deleted AFTER DELETE ON telemetry.pose_rep_metrics REFERENCING OLD TABLE AS old_rows
  FOR EACH STATEMENT EXECUTE FUNCTION core.log_changed_sessions();
CREATE TRIGGER log_updated AFTER UPDATE ON telemetry.pose_rep_metrics REFERENCING OLD TABLE AS old_rows
  FOR EACH STATEMENT EXECUTE FUNCTION core.log_changed_sessions();
CREATE TRIGGER lose_truncated AFTER TRUNCATE ON telemetry.pose_rep_metrics
  FOR EACH STATEMENT EXECUTE FUNCTION core.lose_changes();

-- The log's bound where nobody reads it: what is older goes, and the loss is noted in the same transaction.
CREATE FUNCTION telemetry.expire_row_changes(kept_days integer, max_rows integer) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, telemetry, pg_temp AS $$
DECLARE
  cutoff timestamptz := telemetry.expiry_cutoff(kept_days, 3);
  gone integer;
  newest xid8;
BEGIN
  WITH deleted AS (
    DELETE FROM core.row_changes WHERE ctid = ANY (ARRAY(
      SELECT c.ctid FROM core.row_changes c WHERE c.changed_at < cutoff LIMIT max_rows))
    RETURNING xid
  )
  SELECT count(*), max(xid) INTO gone, newest FROM deleted;
  IF gone > 0 THEN
    UPDATE core.row_changes_lost SET below_xid = (newest::text::numeric + 1)::text::xid8
    WHERE below_xid <= newest;
  END IF;
  RETURN gone;
END
$$;
REVOKE ALL ON FUNCTION telemetry.expire_row_changes FROM PUBLIC;
GRANT EXECUTE ON FUNCTION telemetry.expire_row_changes TO restartix_sweeper;

-- The change log replaces reading by applied_at.
DROP INDEX telemetry.pose_session_metrics_applied_at_idx, telemetry.media_session_metrics_applied_at_idx;

RESET ROLE;

-- What the builds keep between two nights.
SET LOCAL ROLE restartix_analytics_builder;

CREATE TABLE analytics_intermediate.refresh_state (
  model_name text PRIMARY KEY,
  read_below_xid xid8,
  reading_below_xid xid8,
  system_identifier text,
  definition text,
  rebuilt_xid xid8
);
COMMENT ON TABLE analytics_intermediate.refresh_state IS
  'One row an incremental model: how far it has read the change log, committed with the rows it made of it.';
COMMENT ON COLUMN analytics_intermediate.refresh_state.model_name IS 'internal: model';
COMMENT ON COLUMN analytics_intermediate.refresh_state.read_below_xid IS
  'internal: entries of transactions below are in the model';
COMMENT ON COLUMN analytics_intermediate.refresh_state.reading_below_xid IS 'internal: the same once the running build has committed';
COMMENT ON COLUMN analytics_intermediate.refresh_state.system_identifier IS
  'internal: cluster whose transactions are meant; another one''s (after a restore from a dump) mean nothing here';
COMMENT ON COLUMN analytics_intermediate.refresh_state.definition IS 'internal: digest of the SQL and columns it was built by';
COMMENT ON COLUMN analytics_intermediate.refresh_state.rebuilt_xid IS 'internal: transaction that last built it from nothing';

CREATE TABLE analytics_intermediate.affected (
  model_name text NOT NULL,
  id bigint,
  other_id bigint,
  starts_on date,
  session_id uuid,
  started_at timestamptz
);
CREATE INDEX ON analytics_intermediate.affected (model_name);
COMMENT ON TABLE analytics_intermediate.affected IS
  'What an incremental model has to rebuild: put here by the models it is made of, taken in the transaction that rebuilds.';
COMMENT ON COLUMN analytics_intermediate.affected.model_name IS 'internal: model that has to rebuild';
COMMENT ON COLUMN analytics_intermediate.affected.id IS 'personal: first key of its grain';
COMMENT ON COLUMN analytics_intermediate.affected.other_id IS 'internal: second key of its grain, where it has one';
COMMENT ON COLUMN analytics_intermediate.affected.starts_on IS 'internal: first day of its period, where it has one';
COMMENT ON COLUMN analytics_intermediate.affected.session_id IS 'clinical: exercise session, where that is its grain';
COMMENT ON COLUMN analytics_intermediate.affected.started_at IS 'clinical: the session''s start, which names the partition';

ALTER TABLE analytics_intermediate.refresh_state ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY builder ON analytics_intermediate.refresh_state TO restartix_analytics_builder
  USING (true) WITH CHECK (true);
ALTER TABLE analytics_intermediate.affected ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY builder ON analytics_intermediate.affected TO restartix_analytics_builder USING (true) WITH CHECK (true);

RESET ROLE;

-- migrate:down
SET LOCAL ROLE restartix_analytics_builder;
DROP TABLE analytics_intermediate.affected, analytics_intermediate.refresh_state;
RESET ROLE;
SET LOCAL ROLE restartix_owner;
CREATE INDEX ON telemetry.pose_session_metrics (applied_at);
CREATE INDEX ON telemetry.media_session_metrics (applied_at);
DROP FUNCTION telemetry.expire_row_changes;
DROP FUNCTION core.log_changed_ids, core.log_changed_sessions, core.lose_changes CASCADE;
DROP TABLE core.row_changes, core.row_changes_lost;
RESET ROLE;
