-- migrate:up
SET LOCAL ROLE restartix_owner;

-- Ingest nodes and their leases. `ready_since` is when the present unbroken readiness began: the sweep closes a
-- session only where its node was ready for the whole silence, so an outage of ours never ends a patient's session.
CREATE TABLE telemetry.nodes (
  node_id text PRIMARY KEY,
  ingest_url text NOT NULL,
  ready_since timestamptz,
  seen_at timestamptz NOT NULL,
  lease_until timestamptz NOT NULL
);

CREATE TABLE telemetry.sessions (
  session_id uuid PRIMARY KEY,
  organisation_id bigint NOT NULL REFERENCES core.organisations,
  patient_id bigint NOT NULL REFERENCES core.patients,
  exercise_id bigint NOT NULL REFERENCES core.exercises,
  patient_exercise_log_id bigint NOT NULL REFERENCES core.patient_exercise_logs,
  node_id text NOT NULL REFERENCES telemetry.nodes,
  state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'ended', 'finalised', 'failed', 'erased')),
  started_at timestamptz NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  token_expires_at timestamptz NOT NULL,
  last_received_at timestamptz,
  ended_at timestamptz,
  end_reason text CHECK (end_reason IN ('completed', 'abandoned', 'timeout', 'node_lost', 'consent_withdrawn')),
  incomplete boolean NOT NULL DEFAULT false,
  movement_profile jsonb,
  prescription jsonb NOT NULL DEFAULT '{}',
  algorithm_version text,
  revision integer NOT NULL DEFAULT 0,
  applied_revision integer NOT NULL DEFAULT 0,
  finalised_at timestamptz,
  applied_at timestamptz,
  consumed_offsets jsonb NOT NULL DEFAULT '{}',
  retention text NOT NULL DEFAULT 'default' CHECK (retention IN ('default', 'clinical')),
  blob_key text,
  blob_version_id text,
  blob_etag text,
  blob_bytes bigint,
  events_key text,
  events_version_id text,
  events_etag text,
  accepted_records integer,
  batches_in_blob integer,
  batches_duplicate integer,
  batches_dropped_for_consent integer,
  accepted_events integer,
  events_in_object integer,
  events_duplicate integer,
  events_dropped_for_consent integer,
  attempts integer NOT NULL DEFAULT 0,
  failure text,
  -- Accounting closes: what was accepted is in the object, a duplicate, or dropped for consent, and all are known.
  CONSTRAINT accounting_closes CHECK (
    accepted_records IS NULL
    OR (accepted_records = batches_in_blob + batches_duplicate + batches_dropped_for_consent) IS TRUE),
  CONSTRAINT event_accounting_closes CHECK (
    accepted_events IS NULL
    OR (accepted_events = events_in_object + events_duplicate + events_dropped_for_consent) IS TRUE)
);
CREATE INDEX ON telemetry.sessions (node_id, state);
CREATE INDEX ON telemetry.sessions (organisation_id, started_at);
CREATE INDEX ON telemetry.sessions (patient_exercise_log_id);
CREATE UNIQUE INDEX one_open_session_per_log ON telemetry.sessions (patient_exercise_log_id) WHERE state = 'open';

-- Where each batch's gzip member lies in the blob, so that one repetition can be fetched by a ranged GET.
CREATE TABLE telemetry.blob_members (
  session_id uuid NOT NULL REFERENCES telemetry.sessions ON DELETE CASCADE,
  revision integer NOT NULL,
  ordinal integer NOT NULL,
  organisation_id bigint NOT NULL,
  start_ms integer NOT NULL,
  end_ms integer NOT NULL,
  byte_offset bigint NOT NULL,
  byte_length integer NOT NULL,
  PRIMARY KEY (session_id, revision, ordinal)
);

CREATE TABLE telemetry.pose_session_metrics (
  session_id uuid NOT NULL,
  started_at timestamptz NOT NULL,
  organisation_id bigint NOT NULL,
  patient_id bigint NOT NULL,
  exercise_id bigint NOT NULL,
  patient_exercise_log_id bigint NOT NULL,
  revision integer NOT NULL,
  rep_count integer NOT NULL,
  average_form_score numeric(5, 2),
  active_duration_ms integer NOT NULL,
  rom_mean_deg numeric(6, 2),
  rom_max_deg numeric(6, 2),
  rom_sd_deg numeric(6, 2),
  tempo_mean_ms numeric(10, 1),
  symmetry_percent numeric(5, 2),
  smoothness_sparc numeric(8, 4),
  tracking_quality numeric(5, 4),
  gap_count integer NOT NULL,
  gap_ms integer NOT NULL,
  frame_count integer NOT NULL,
  duration_ms integer NOT NULL,
  end_reason text NOT NULL,
  incomplete boolean NOT NULL,
  movement_profile text NOT NULL,
  algorithm_version text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (session_id, started_at)
) PARTITION BY RANGE (started_at);
CREATE INDEX ON telemetry.pose_session_metrics (organisation_id, started_at);

CREATE TABLE telemetry.pose_rep_metrics (
  session_id uuid NOT NULL,
  started_at timestamptz NOT NULL,
  rep_number integer NOT NULL,
  organisation_id bigint NOT NULL,
  patient_id bigint NOT NULL,
  start_ms integer NOT NULL,
  end_ms integer NOT NULL,
  peak_rom_deg numeric(6, 2) NOT NULL,
  form_score numeric(5, 2) NOT NULL,
  concentric_ms integer NOT NULL,
  hold_ms integer NOT NULL,
  eccentric_ms integer NOT NULL,
  deviation_max_deg numeric(6, 2),
  deviation_name text,
  side text NOT NULL,
  confidence numeric(5, 4) NOT NULL,
  byte_offset bigint,
  byte_length bigint,
  PRIMARY KEY (session_id, started_at, rep_number)
) PARTITION BY RANGE (started_at);

CREATE TABLE telemetry.media_session_metrics (
  session_id uuid NOT NULL,
  started_at timestamptz NOT NULL,
  ordinal integer NOT NULL,
  organisation_id bigint NOT NULL,
  patient_id bigint NOT NULL,
  exercise_id bigint NOT NULL,
  patient_exercise_log_id bigint NOT NULL,
  revision integer NOT NULL,
  media_id text NOT NULL,
  media_type text,
  began_at timestamptz NOT NULL,
  ended_at timestamptz,
  total_duration_seconds numeric(10, 3),
  startup_ms integer,
  ttfb_ms integer,
  watched_seconds numeric(10, 3),
  unique_seconds numeric(10, 3),
  unique_seconds_error numeric(10, 3),
  watch_percentage numeric(5, 2),
  completed boolean,
  milestone_percent integer,
  stall_count integer,
  stall_ms bigint,
  played_ms bigint,
  mean_bitrate numeric(14, 1),
  upswitch_count integer,
  downswitch_count integer,
  quality_seconds jsonb NOT NULL DEFAULT '{}',
  dropped_frames bigint,
  total_frames bigint,
  exit_before_start boolean,
  error_count integer,
  applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (session_id, started_at, ordinal)
) PARTITION BY RANGE (started_at);
CREATE INDEX ON telemetry.media_session_metrics (organisation_id, started_at);

CREATE TABLE telemetry.media_buffering_events (
  session_id uuid NOT NULL,
  started_at timestamptz NOT NULL,
  view_ordinal integer NOT NULL,
  stall_number integer NOT NULL,
  organisation_id bigint NOT NULL,
  patient_id bigint NOT NULL,
  began_at timestamptz NOT NULL,
  position_seconds numeric(10, 3),
  duration_ms integer,
  PRIMARY KEY (session_id, started_at, view_ordinal, stall_number)
) PARTITION BY RANGE (started_at);

-- Monthly partitions for [first_month, last_month]. A partition is reached only through its parent: it has forced
-- row-level security with no policy and no grant, so naming it directly shows nothing.
CREATE FUNCTION telemetry.ensure_partitions(first_month date, last_month date) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = telemetry, pg_temp AS $$
DECLARE
  parent text;
  month date;
  child text;
  made integer := 0;
BEGIN
  IF last_month - first_month > 366 * 12 THEN
    RAISE EXCEPTION 'more than 12 years of partitions asked for: % to %', first_month, last_month;
  END IF;
  PERFORM pg_advisory_xact_lock(hashtext('telemetry.ensure_partitions'));
  FOREACH parent IN ARRAY ARRAY[
    'pose_session_metrics', 'pose_rep_metrics', 'media_session_metrics', 'media_buffering_events'
  ] LOOP
    FOR month IN SELECT generate_series(date_trunc('month', first_month::timestamp), last_month, '1 month')::date LOOP
      child := format('%s_%s', parent, to_char(month, 'YYYYMM'));
      CONTINUE WHEN to_regclass('telemetry.' || child) IS NOT NULL;
      EXECUTE format('CREATE TABLE telemetry.%I PARTITION OF telemetry.%I FOR VALUES FROM (%L) TO (%L)',
        child, parent, month::text || ' 00:00:00+00', (month + interval '1 month')::date::text || ' 00:00:00+00');
      EXECUTE format('ALTER TABLE telemetry.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', child);
      made := made + 1;
    END LOOP;
  END LOOP;
  RETURN made;
END
$$;
REVOKE ALL ON FUNCTION telemetry.ensure_partitions FROM PUBLIC;
GRANT EXECUTE ON FUNCTION telemetry.ensure_partitions TO restartix_sweeper;

-- A year back (late and back-dated sessions) and a year ahead; the nightly retention job keeps moving it on.
SELECT telemetry.ensure_partitions((now() - interval '12 months')::date, (now() + interval '12 months')::date);

RESET ROLE;

-- migrate:down
SET LOCAL ROLE restartix_owner;
DROP TABLE telemetry.media_buffering_events, telemetry.media_session_metrics, telemetry.pose_rep_metrics,
  telemetry.pose_session_metrics, telemetry.blob_members, telemetry.sessions, telemetry.nodes;
DROP FUNCTION telemetry.ensure_partitions;
RESET ROLE;
