-- migrate:up
SET LOCAL ROLE restartix_owner;

-- What ended an exercise is read by the marts from the session itself, and a session may end without any result coming
-- of it: where finalising fails for good, nothing else of the change log names its exercise log. The entry names that log,
-- which is what has to be made anew, and is there still once the session is deleted.
CREATE FUNCTION core.log_ended_sessions() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF tg_op = 'DELETE' THEN
    INSERT INTO core.row_changes (table_name, organisation_id, row_id)
    VALUES (tg_table_name, old.organisation_id, old.patient_exercise_log_id);
  ELSE
    INSERT INTO core.row_changes (table_name, organisation_id, row_id)
    VALUES (tg_table_name, new.organisation_id, new.patient_exercise_log_id);
  END IF;
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION core.log_ended_sessions FROM PUBLIC;

-- A row of telemetry.sessions is touched every few seconds of its life and ends once. A statement trigger with transition
-- tables cannot be bound to a column, and would keep copies of every touched row to find that nothing ended; these are
-- not even considered unless the statement sets end_reason, and call nothing unless it differs.
CREATE TRIGGER log_inserted AFTER INSERT ON telemetry.sessions
  FOR EACH ROW WHEN (new.end_reason IS NOT NULL) EXECUTE FUNCTION core.log_ended_sessions();
CREATE TRIGGER log_updated AFTER UPDATE OF end_reason ON telemetry.sessions
  FOR EACH ROW WHEN (old.end_reason IS DISTINCT FROM new.end_reason) EXECUTE FUNCTION core.log_ended_sessions();
CREATE TRIGGER log_deleted AFTER DELETE ON telemetry.sessions
  FOR EACH ROW WHEN (old.end_reason IS NOT NULL) EXECUTE FUNCTION core.log_ended_sessions();
CREATE TRIGGER lose_truncated AFTER TRUNCATE ON telemetry.sessions
  FOR EACH STATEMENT EXECUTE FUNCTION core.lose_changes();

COMMENT ON COLUMN core.row_changes.row_id IS
  'internal: the row''s id; of telemetry.sessions: its exercise log''s; null: a table keyed by session';

RESET ROLE;

-- migrate:down
SET LOCAL ROLE restartix_owner;
DROP FUNCTION core.log_ended_sessions CASCADE;
DROP TRIGGER lose_truncated ON telemetry.sessions;
COMMENT ON COLUMN core.row_changes.row_id IS 'internal: the row''s id; null: a table keyed by session';
RESET ROLE;
