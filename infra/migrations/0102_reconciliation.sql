-- migrate:up
SET LOCAL ROLE restartix_owner;

-- What the nightly reconciliation compares with the object store and with itself: ids, keys, sizes and sums.

CREATE INDEX sessions_in_object_order ON telemetry.sessions (organisation_id, session_id);

CREATE FUNCTION telemetry.organisations_with_sessions() RETURNS TABLE (organisation_id bigint)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = core, pg_temp AS $$
  SELECT id FROM core.organisations ORDER BY id::text COLLATE "C"
$$;

-- A page of a clinic's sealed objects in the order in which S3 lists them. blob_bytes NULL: not known.
CREATE FUNCTION telemetry.sealed_objects(of_organisation_id bigint, after_session_id uuid, max_sessions integer)
  RETURNS TABLE (session_id uuid, blob_key text, blob_bytes bigint, events_key text, retention text,
                 finalised_at timestamptz)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = telemetry, pg_temp AS $$
  SELECT s.session_id, s.blob_key, s.blob_bytes, s.events_key, s.retention, s.finalised_at
  FROM telemetry.sessions s
  WHERE s.organisation_id = of_organisation_id AND (after_session_id IS NULL OR s.session_id > after_session_id)
    AND (s.blob_key IS NOT NULL OR s.events_key IS NOT NULL)
  ORDER BY s.session_id LIMIT least(max_sessions, 10000)
$$;

-- Accounting over the sessions finalised within the last lookback: everything accepted is in an object, a duplicate or
-- dropped for consent; and a blob's member index has as many entries as the blob has batches.
CREATE FUNCTION telemetry.accounting(lookback interval)
  RETURNS TABLE (sessions bigint, uncounted bigint, accepted_batches bigint, batches_in_blobs bigint,
                 batches_duplicate bigint, batches_dropped bigint, accepted_events bigint, events_in_objects bigint,
                 events_duplicate bigint, events_dropped bigint, not_closing bigint, members_differ bigint)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = telemetry, pg_temp AS $$
  WITH counted AS (
    SELECT s.*, (SELECT count(*) FROM telemetry.blob_members m
                 WHERE m.session_id = s.session_id AND m.revision = s.revision) AS members
    FROM telemetry.sessions s
    WHERE s.state = 'finalised' AND s.finalised_at >= clock_timestamp() - lookback
  )
  SELECT count(*), count(*) FILTER (WHERE accepted_records IS NULL),
         coalesce(sum(accepted_records), 0),
         coalesce(sum(batches_in_blob) FILTER (WHERE accepted_records IS NOT NULL), 0),
         coalesce(sum(batches_duplicate), 0), coalesce(sum(batches_dropped_for_consent), 0),
         coalesce(sum(accepted_events), 0),
         coalesce(sum(events_in_object) FILTER (WHERE accepted_events IS NOT NULL), 0),
         coalesce(sum(events_duplicate), 0), coalesce(sum(events_dropped_for_consent), 0),
         count(*) FILTER (WHERE
           (accepted_records IS NOT NULL AND (accepted_records
             = batches_in_blob + batches_duplicate + batches_dropped_for_consent) IS NOT TRUE)
           OR (accepted_events IS NOT NULL AND (accepted_events
             = events_in_object + events_duplicate + events_dropped_for_consent) IS NOT TRUE)),
         count(*) FILTER (WHERE blob_key IS NOT NULL AND members IS DISTINCT FROM batches_in_blob)
  FROM counted
$$;

REVOKE ALL ON FUNCTION telemetry.organisations_with_sessions, telemetry.sealed_objects, telemetry.accounting
  FROM PUBLIC;
GRANT EXECUTE ON FUNCTION telemetry.organisations_with_sessions, telemetry.sealed_objects, telemetry.accounting
  TO restartix_sweeper;

RESET ROLE;

-- migrate:down
SET LOCAL ROLE restartix_owner;
DROP FUNCTION telemetry.accounting, telemetry.sealed_objects, telemetry.organisations_with_sessions;
DROP INDEX telemetry.sessions_in_object_order;
RESET ROLE;
