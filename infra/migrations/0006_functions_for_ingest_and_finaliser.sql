-- migrate:up
SET LOCAL ROLE restartix_owner;

-- What the hot path and the finaliser may ask across tenants, and nothing more: each function takes the ids its
-- caller already holds (from verified tokens, or from its own node) and gives back states and times.

-- The ledger's state: since when it holds (the same said again changes nothing), and when the purpose was last
-- withdrawn, so that a session that saw a withdrawal stays closed to it however soon consent is given again.
CREATE FUNCTION core.consent_state(organisation_ids bigint[], principal_ids uuid[])
  RETURNS TABLE (organisation_id bigint, principal_id uuid, purpose text, granted boolean, effective_at timestamptz,
                 withdrawn_at timestamptz)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = core, pg_temp AS $$
  WITH ledger AS (
    SELECT p.organisation_id, p.principal_id, c.purpose, c.id, c.granted, c.effective_at,
           first_value(c.granted) OVER (PARTITION BY p.id, c.purpose ORDER BY c.id DESC) AS state
    FROM (SELECT DISTINCT * FROM unnest(organisation_ids, principal_ids)) AS asked (organisation_id, principal_id)
    JOIN core.patients p USING (organisation_id, principal_id)
    JOIN core.consents c ON c.patient_id = p.id
  ), runs AS (
    SELECT l.*, max(l.id) FILTER (WHERE l.granted <> l.state)
                OVER (PARTITION BY l.organisation_id, l.principal_id, l.purpose) AS last_other_id
    FROM ledger l
  )
  SELECT r.organisation_id, r.principal_id, r.purpose, r.state,
         min(r.effective_at) FILTER (WHERE r.last_other_id IS NULL OR r.id > r.last_other_id),
         max(r.effective_at) FILTER (WHERE NOT r.granted)
  FROM runs r
  GROUP BY r.organisation_id, r.principal_id, r.purpose, r.state
$$;

-- Times only move forward: a delayed statement never makes a session look more silent than it was.
CREATE FUNCTION telemetry.touch_sessions(touching_node_id text, session_ids uuid[], received_at timestamptz[])
  RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = telemetry, pg_temp AS $$
  UPDATE telemetry.sessions s
  SET last_received_at = greatest(s.last_received_at, t.received_at)
  FROM unnest(session_ids, received_at) AS t (session_id, received_at)
  WHERE s.session_id = t.session_id AND s.node_id = touching_node_id
    AND s.last_received_at IS DISTINCT FROM greatest(s.last_received_at, t.received_at)
$$;

-- A lapsed lease or a not-ready report ends the unbroken readiness; the next ready report begins a new one.
CREATE FUNCTION telemetry.renew_node_lease(renewing_node_id text, node_ingest_url text, ready boolean, lease_s integer)
  RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = telemetry, pg_temp AS $$
  INSERT INTO telemetry.nodes AS n (node_id, ingest_url, ready_since, seen_at, lease_until)
  VALUES (renewing_node_id, node_ingest_url, CASE WHEN ready THEN clock_timestamp() END, clock_timestamp(),
          clock_timestamp() + make_interval(secs => lease_s))
  ON CONFLICT (node_id) DO UPDATE SET
    ingest_url = excluded.ingest_url,
    ready_since = CASE
      WHEN NOT ready THEN NULL
      WHEN n.ready_since IS NULL OR n.lease_until < clock_timestamp() THEN clock_timestamp()
      ELSE n.ready_since
    END,
    seen_at = excluded.seen_at,
    lease_until = excluded.lease_until
$$;

CREATE FUNCTION telemetry.record_denial(denied_organisation_id bigint, denied_principal_id uuid,
                                        denied_session_id uuid, denied_purpose text, reason text)
  RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = core, pg_temp AS $$
  INSERT INTO core.audit_log (organisation_id, actor_principal_id, actor_role, action, entity, entity_id, session_id,
                              purpose, details)
  SELECT s.organisation_id, denied_principal_id, 'patient', 'ingest.denied', 'telemetry.sessions',
         denied_session_id::text, denied_session_id, denied_purpose, jsonb_build_object('reason', reason)
  FROM telemetry.sessions s
  WHERE s.session_id = denied_session_id AND s.organisation_id = denied_organisation_id
  ON CONFLICT (session_id, purpose) WHERE action = 'ingest.denied' DO NOTHING
$$;

CREATE FUNCTION telemetry.end_session(ending_node_id text, ending_session_id uuid, reason text, at timestamptz)
  RETURNS boolean LANGUAGE sql SECURITY DEFINER SET search_path = telemetry, pg_temp AS $$
  WITH ended AS (
    UPDATE telemetry.sessions
    SET state = 'ended', ended_at = at, end_reason = reason,
        incomplete = reason IN ('timeout', 'node_lost', 'consent_withdrawn')
    WHERE session_id = ending_session_id AND node_id = ending_node_id AND state = 'open'
    RETURNING 1
  )
  SELECT EXISTS (SELECT FROM ended)
$$;

-- The node's sessions that are closed and not finalised yet; ids and states only.
CREATE FUNCTION telemetry.sessions_to_finalise(asking_node_id text, max_sessions integer)
  RETURNS TABLE (session_id uuid, organisation_id bigint, state text, end_reason text, ended_at timestamptz,
                 attempts integer)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = telemetry, pg_temp AS $$
  SELECT s.session_id, s.organisation_id, s.state, s.end_reason, s.ended_at, s.attempts
  FROM telemetry.sessions s
  WHERE s.node_id = asking_node_id AND s.state = 'ended'
  ORDER BY s.ended_at LIMIT least(max_sessions, 10000)
$$;

REVOKE ALL ON FUNCTION core.consent_state, telemetry.touch_sessions, telemetry.renew_node_lease,
  telemetry.record_denial, telemetry.end_session, telemetry.sessions_to_finalise FROM PUBLIC;
GRANT EXECUTE ON FUNCTION core.consent_state, telemetry.touch_sessions, telemetry.renew_node_lease,
  telemetry.record_denial, telemetry.end_session TO restartix_ingest;
GRANT EXECUTE ON FUNCTION telemetry.sessions_to_finalise TO restartix_finaliser;

RESET ROLE;

-- migrate:down
SET LOCAL ROLE restartix_owner;
DROP FUNCTION core.consent_state, telemetry.touch_sessions, telemetry.renew_node_lease, telemetry.record_denial,
  telemetry.end_session, telemetry.sessions_to_finalise;
RESET ROLE;
