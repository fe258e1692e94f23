-- migrate:up
SET LOCAL ROLE restartix_owner;

-- What a node's finaliser asks about the sessions on its disk, across tenants: ids, states and times of its own node.
-- `dropped_for_consent` and `last_withdrawal_at` say whose bytes have to leave the disk early.
CREATE FUNCTION telemetry.session_states(asking_node_id text, session_ids uuid[])
  RETURNS TABLE (session_id uuid, organisation_id bigint, state text, revision integer, token_expires_at timestamptz,
                 finalised_at timestamptz, dropped_for_consent boolean, last_withdrawal_at timestamptz,
                 consumed_offsets jsonb)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = telemetry, core, pg_temp AS $$
  SELECT s.session_id, s.organisation_id, s.state, s.revision, s.token_expires_at, s.finalised_at,
         coalesce(s.batches_dropped_for_consent, 0) + coalesce(s.events_dropped_for_consent, 0) > 0,
         (SELECT max(c.effective_at) FROM core.consents c
          WHERE c.patient_id = s.patient_id AND NOT c.granted AND c.effective_at > s.created_at),
         s.consumed_offsets
  FROM telemetry.sessions s
  WHERE s.session_id = ANY (session_ids) AND s.node_id = asking_node_id
$$;

-- Closed sessions of nodes that are given up: any other node's finaliser finishes them,
-- with what is left of them.
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

REVOKE ALL ON FUNCTION telemetry.session_states, telemetry.lost_sessions_to_finalise FROM PUBLIC;
GRANT EXECUTE ON FUNCTION telemetry.session_states, telemetry.lost_sessions_to_finalise TO restartix_finaliser;

RESET ROLE;

-- migrate:down
SET LOCAL ROLE restartix_owner;
DROP FUNCTION telemetry.session_states, telemetry.lost_sessions_to_finalise;
RESET ROLE;
