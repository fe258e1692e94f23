-- migrate:up
SET LOCAL ROLE restartix_owner;

-- The safety copy of a running session: one multipart upload, kept going by its node's finaliser, and the parts that
-- reached the store. A row leaves with the upload: completed at the seal, or aborted. What a lost node's session needs
-- beyond this is in telemetry.sessions already.
CREATE TABLE telemetry.safety_copies (
  session_id uuid PRIMARY KEY REFERENCES telemetry.sessions ON DELETE CASCADE,
  organisation_id bigint NOT NULL REFERENCES core.organisations,
  node_id text NOT NULL REFERENCES telemetry.nodes,
  object_key text NOT NULL,
  upload_id text NOT NULL,
  begun_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  UNIQUE (session_id, upload_id)
);

-- Each part's members in their order in the part. A store gives back parts only as a whole object, which knows no
-- receipt times: they are here, so that a withdrawal can still be applied when the node's disk is gone.
CREATE TABLE telemetry.safety_copy_parts (
  session_id uuid NOT NULL,
  upload_id text NOT NULL,
  part_number integer NOT NULL CHECK (part_number BETWEEN 1 AND 10000),
  organisation_id bigint NOT NULL REFERENCES core.organisations,
  etag text NOT NULL,
  sha256 bytea NOT NULL CHECK (octet_length(sha256) = 32),
  size_bytes bigint NOT NULL CHECK (size_bytes > 0),
  member_hashes bytea[] NOT NULL,
  member_received_at timestamptz[] NOT NULL,
  member_bytes integer[] NOT NULL,
  uploaded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (session_id, part_number),
  FOREIGN KEY (session_id, upload_id) REFERENCES telemetry.safety_copies (session_id, upload_id) ON DELETE CASCADE,
  CONSTRAINT members_are_parallel CHECK (
    cardinality(member_hashes) > 0
    AND cardinality(member_hashes) = cardinality(member_received_at)
    AND cardinality(member_hashes) = cardinality(member_bytes))
);

-- Which finaliser is at work on a lost node's session. Only a courtesy between nodes: what decides is the session's
-- revision, on top of which exactly one of them publishes.
CREATE TABLE telemetry.lost_session_claims (
  session_id uuid PRIMARY KEY REFERENCES telemetry.sessions ON DELETE CASCADE,
  organisation_id bigint NOT NULL REFERENCES core.organisations,
  node_id text NOT NULL,
  claimed_until timestamptz NOT NULL
);
CREATE INDEX ON telemetry.safety_copies (node_id);

COMMENT ON COLUMN telemetry.safety_copies.session_id IS 'internal: exercise session';
COMMENT ON COLUMN telemetry.safety_copies.organisation_id IS 'internal: tenant';
COMMENT ON COLUMN telemetry.safety_copies.node_id IS 'internal: node that keeps the copy going';
COMMENT ON COLUMN telemetry.safety_copies.object_key IS 'internal: the object the upload becomes';
COMMENT ON COLUMN telemetry.safety_copies.upload_id IS 'internal: the store''s name for the upload';
COMMENT ON COLUMN telemetry.safety_copies.begun_at IS 'internal: when the upload was begun';
COMMENT ON COLUMN telemetry.safety_copy_parts.session_id IS 'internal: exercise session';
COMMENT ON COLUMN telemetry.safety_copy_parts.upload_id IS 'internal: the upload it belongs to';
COMMENT ON COLUMN telemetry.safety_copy_parts.part_number IS 'internal: n-th part, from 1';
COMMENT ON COLUMN telemetry.safety_copy_parts.organisation_id IS 'internal: tenant';
COMMENT ON COLUMN telemetry.safety_copy_parts.etag IS 'internal: the store''s tag of the part';
COMMENT ON COLUMN telemetry.safety_copy_parts.sha256 IS 'internal: SHA-256 of the part';
COMMENT ON COLUMN telemetry.safety_copy_parts.size_bytes IS 'internal: bytes of the part';
COMMENT ON COLUMN telemetry.safety_copy_parts.member_hashes IS 'internal: payload hash of each batch in it';
COMMENT ON COLUMN telemetry.safety_copy_parts.member_received_at IS 'internal: when each batch was received';
COMMENT ON COLUMN telemetry.safety_copy_parts.member_bytes IS 'internal: bytes of each batch''s gzip member';
COMMENT ON COLUMN telemetry.safety_copy_parts.uploaded_at IS 'internal: when the part had reached the store';
COMMENT ON COLUMN telemetry.lost_session_claims.session_id IS 'internal: exercise session';
COMMENT ON COLUMN telemetry.lost_session_claims.organisation_id IS 'internal: tenant';
COMMENT ON COLUMN telemetry.lost_session_claims.node_id IS 'internal: whose finaliser is at work on it';
COMMENT ON COLUMN telemetry.lost_session_claims.claimed_until IS 'internal: when another may take it';

ALTER TABLE telemetry.safety_copies ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE telemetry.safety_copy_parts ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE telemetry.lost_session_claims ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON telemetry.safety_copies TO restartix_owner USING (true) WITH CHECK (true);
CREATE POLICY owner ON telemetry.safety_copy_parts TO restartix_owner USING (true) WITH CHECK (true);
CREATE POLICY owner ON telemetry.lost_session_claims TO restartix_owner USING (true) WITH CHECK (true);
CREATE POLICY tenant ON telemetry.safety_copies TO restartix_finaliser
  USING (organisation_id = core.current_organisation_id())
  WITH CHECK (organisation_id = core.current_organisation_id());
CREATE POLICY tenant ON telemetry.safety_copy_parts TO restartix_finaliser
  USING (organisation_id = core.current_organisation_id())
  WITH CHECK (organisation_id = core.current_organisation_id());
GRANT SELECT, INSERT, DELETE ON telemetry.safety_copies, telemetry.safety_copy_parts TO restartix_finaliser;

-- Closed sessions of nodes that are given up, claimed for one finaliser at a time; ids, states and times only. Asking
-- again renews the claims one holds.
DROP FUNCTION telemetry.lost_sessions_to_finalise;
CREATE FUNCTION telemetry.claim_lost_sessions(asking_node_id text, lost_s integer, lease_s integer,
                                              max_sessions integer)
  RETURNS TABLE (session_id uuid, organisation_id bigint, ended_at timestamptz)
  LANGUAGE sql SECURITY DEFINER SET search_path = telemetry, pg_temp AS $$
  WITH free AS MATERIALIZED (
    SELECT s.session_id, s.organisation_id, s.ended_at
    FROM telemetry.sessions s
    JOIN telemetry.nodes n USING (node_id)
    LEFT JOIN telemetry.lost_session_claims c ON c.session_id = s.session_id
    WHERE s.state = 'ended' AND s.node_id <> asking_node_id
      AND n.lease_until < clock_timestamp() - make_interval(secs => lost_s)
      AND (c.session_id IS NULL OR c.node_id = asking_node_id OR c.claimed_until < clock_timestamp())
    ORDER BY s.ended_at LIMIT least(max_sessions, 10000)
    FOR UPDATE OF s SKIP LOCKED
  ), claimed AS (
    INSERT INTO telemetry.lost_session_claims AS held (session_id, organisation_id, node_id, claimed_until)
    SELECT f.session_id, f.organisation_id, asking_node_id, clock_timestamp() + make_interval(secs => lease_s)
    FROM free f
    ON CONFLICT ON CONSTRAINT lost_session_claims_pkey
    DO UPDATE SET node_id = excluded.node_id, claimed_until = excluded.claimed_until
      -- Seen with the row locked: somebody may have claimed it since `free` was read.
      WHERE held.node_id = excluded.node_id OR held.claimed_until < clock_timestamp()
    RETURNING held.session_id
  )
  SELECT f.session_id, f.organisation_id, f.ended_at FROM free f JOIN claimed USING (session_id) ORDER BY f.ended_at
$$;

-- Copies that nothing will complete any more: their session is finalised or erased, and their node is the asking one or
-- given up. Ids only.
CREATE FUNCTION telemetry.settled_safety_copies(asking_node_id text, lost_s integer, max_copies integer)
  RETURNS TABLE (session_id uuid, organisation_id bigint)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = telemetry, pg_temp AS $$
  SELECT c.session_id, c.organisation_id
  FROM telemetry.safety_copies c
  JOIN telemetry.sessions s USING (session_id)
  JOIN telemetry.nodes n ON n.node_id = c.node_id
  WHERE s.state IN ('finalised', 'erased')
    AND (c.node_id = asking_node_id OR n.lease_until < clock_timestamp() - make_interval(secs => lost_s))
  ORDER BY c.begun_at LIMIT least(max_copies, 10000)
$$;

REVOKE ALL ON FUNCTION telemetry.claim_lost_sessions, telemetry.settled_safety_copies FROM PUBLIC;
GRANT EXECUTE ON FUNCTION telemetry.claim_lost_sessions, telemetry.settled_safety_copies TO restartix_finaliser;

RESET ROLE;

-- migrate:down
SET LOCAL ROLE restartix_owner;
DROP FUNCTION telemetry.claim_lost_sessions, telemetry.settled_safety_copies;
DROP TABLE telemetry.lost_session_claims, telemetry.safety_copy_parts, telemetry.safety_copies;

CREATE FUNCTION telemetry.lost_sessions_to_finalise(asking_node_id text, lost_s integer, max_sessions integer)
  RETURNS TABLE (session_id uuid, organisation_id bigint, state text, end_reason text, ended_at timestamptz,
                 attempts integer)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = telemetry, pg_temp AS $$
  SELECT s.session_id, s.organisation_id, s.state, s.end_reason, s.ended_at, s.attempts
  FROM telemetry.sessions s JOIN telemetry.nodes n USING (node_id)
  WHERE s.state = 'ended' AND s.node_id <> asking_node_id
    AND n.lease_until < clock_timestamp() - make_interval(secs => lost_s)
  ORDER BY s.ended_at LIMIT least(max_sessions, 10000)
$$;
REVOKE ALL ON FUNCTION telemetry.lost_sessions_to_finalise FROM PUBLIC;
GRANT EXECUTE ON FUNCTION telemetry.lost_sessions_to_finalise TO restartix_finaliser;
RESET ROLE;
