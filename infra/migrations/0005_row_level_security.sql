-- migrate:up
SET LOCAL ROLE restartix_owner;

-- Forced row-level security on every table that names a tenant, and on partitions through their parents.
-- Who may cross tenants is this fixed list: owner (migrations and the SECURITY DEFINER functions), sweeper (ids,
-- states, times, by column grants), analytics_builder (reads sources without encrypted columns); console sees
-- suppressed marts only. Everyone else sees the organisation of its transaction, or, for an analyst, of its login.
DO $$
DECLARE
  target regclass;
  tenant text;
BEGIN
  FOR target, tenant IN
    SELECT c.oid::regclass, CASE WHEN c.relname = 'organisations' THEN 'id' ELSE 'organisation_id' END
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('core', 'telemetry', 'bus') AND c.relkind IN ('r', 'p') AND NOT c.relispartition
      AND (c.relname = 'organisations' OR EXISTS (
        SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'organisation_id' AND NOT a.attisdropped))
  LOOP
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', target);
    EXECUTE format('CREATE POLICY owner ON %s TO restartix_owner USING (true) WITH CHECK (true)', target);
    CONTINUE WHEN target = 'core.analyst_organisations'::regclass;
    EXECUTE format(
      'CREATE POLICY tenant ON %s TO restartix_finaliser, restartix_core_api, restartix_subscriber
         USING (%I = core.current_organisation_id()) WITH CHECK (%I = core.current_organisation_id())',
      target, tenant, tenant);
    EXECUTE format('CREATE POLICY builder ON %s FOR SELECT TO restartix_analytics_builder USING (true)', target);
    EXECUTE format(
      'CREATE POLICY analyst ON %s FOR SELECT TO restartix_analyst USING (%I IN (
         SELECT a.organisation_id FROM core.analyst_organisations a WHERE a.login = session_user))',
      target, tenant);
  END LOOP;
END
$$;
CREATE POLICY own_login ON core.analyst_organisations FOR SELECT TO restartix_analyst USING (login = session_user);
CREATE POLICY builder ON core.analyst_organisations FOR SELECT TO restartix_analytics_builder USING (true);
CREATE POLICY sweeper ON telemetry.sessions TO restartix_sweeper USING (true) WITH CHECK (true);

-- Core API: clinical truth. The ledgers are insert-only for it.
GRANT SELECT, INSERT, UPDATE ON
  core.organisations, core.organisation_keys, core.specialists, core.patients, core.exercises, core.service_plans,
  core.treatment_plans, core.treatment_plan_exercises, core.patient_treatment_plans, core.service_plan_payments,
  core.patient_session_completions, core.patient_exercise_logs, core.form_templates, core.forms
  TO restartix_core_api;
GRANT SELECT, INSERT ON core.consents, core.audit_log TO restartix_core_api;
GRANT SELECT ON telemetry.nodes, telemetry.blob_members, telemetry.pose_session_metrics, telemetry.pose_rep_metrics,
  telemetry.media_session_metrics, telemetry.media_buffering_events TO restartix_core_api;
GRANT SELECT, INSERT, UPDATE (retention) ON telemetry.sessions TO restartix_core_api;

-- Finaliser: a session's state and result, the ledger it re-reads, and the outbox.
GRANT SELECT ON telemetry.sessions, telemetry.nodes, core.consents TO restartix_finaliser;
GRANT SELECT (id, organisation_id, principal_id) ON core.patients TO restartix_finaliser;
GRANT UPDATE (state, last_received_at, ended_at, end_reason, incomplete, algorithm_version, revision, finalised_at,
  consumed_offsets, blob_key, blob_version_id, blob_etag, blob_bytes, events_key, events_version_id, events_etag,
  accepted_records, batches_in_blob, batches_duplicate, batches_dropped_for_consent, accepted_events, events_in_object,
  events_duplicate, events_dropped_for_consent, attempts, failure) ON telemetry.sessions TO restartix_finaliser;
GRANT SELECT, INSERT, DELETE ON telemetry.blob_members TO restartix_finaliser;
GRANT SELECT, INSERT ON bus.events TO restartix_finaliser;

-- Subscriber: aggregates, and what they fill in the exercise log.
GRANT SELECT ON bus.events TO restartix_subscriber;
GRANT SELECT, UPDATE (applied_revision, applied_at) ON telemetry.sessions TO restartix_subscriber;
GRANT SELECT, INSERT, DELETE ON telemetry.pose_session_metrics, telemetry.pose_rep_metrics,
  telemetry.media_session_metrics, telemetry.media_buffering_events TO restartix_subscriber;
GRANT SELECT, UPDATE (actual_reps, actual_reps_source, video_watch_percentage, pose_accuracy_score, incomplete)
  ON core.patient_exercise_logs TO restartix_subscriber;

-- Sweeper: ids, states and times only.
GRANT SELECT ON telemetry.nodes TO restartix_sweeper;
GRANT SELECT (session_id, organisation_id, node_id, state, started_at, created_at, token_expires_at,
  last_received_at, ended_at, end_reason, incomplete, revision, applied_revision, finalised_at, attempts)
  ON telemetry.sessions TO restartix_sweeper;
GRANT UPDATE (state, ended_at, end_reason, incomplete) ON telemetry.sessions TO restartix_sweeper;

-- Analysts work on the marts; these four are the tables of the reference queries, without any identity.
GRANT SELECT ON core.patient_session_completions, core.patient_exercise_logs, core.exercises,
  core.patient_treatment_plans, core.analyst_organisations TO restartix_analyst;

-- Analytics builder: every source column that is not encrypted. Column by column, so that a column added later is
-- not readable until somebody grants it.
DO $$
DECLARE
  target regclass;
  columns text;
BEGIN
  FOR target, columns IN
    SELECT c.oid::regclass, string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE n.nspname IN ('core', 'telemetry') AND c.relkind IN ('r', 'p') AND NOT c.relispartition
      AND c.relname NOT IN ('organisation_keys', 'audit_log', 'nodes')
      AND a.attname NOT LIKE '%\_encrypted'
    GROUP BY c.oid
  LOOP
    EXECUTE format('GRANT SELECT (%s) ON %s TO restartix_analytics_builder', columns, target);
  END LOOP;
END
$$;

RESET ROLE;

-- migrate:down
SET LOCAL ROLE restartix_owner;
DO $$
DECLARE
  policy record;
  target regclass;
BEGIN
  FOR policy IN SELECT schemaname, tablename, policyname FROM pg_policies
                WHERE schemaname IN ('core', 'telemetry', 'bus') LOOP
    EXECUTE format('DROP POLICY %I ON %I.%I', policy.policyname, policy.schemaname, policy.tablename);
  END LOOP;
  FOR target IN
    SELECT c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('core', 'telemetry', 'bus') AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  LOOP
    EXECUTE format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY', target);
    EXECUTE format(
      'REVOKE ALL ON %s FROM restartix_core_api, restartix_finaliser, restartix_subscriber, restartix_sweeper,
         restartix_analyst, restartix_analytics_builder', target);
  END LOOP;
END
$$;
RESET ROLE;
