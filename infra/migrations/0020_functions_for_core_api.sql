-- migrate:up
SET LOCAL ROLE restartix_owner;

-- What the Core API may know across tenants, and nothing more.

-- Where a new exercise session may live: ready nodes with a live lease, and how many open sessions each has.
CREATE FUNCTION telemetry.live_nodes()
  RETURNS TABLE (node_id text, ingest_url text, open_sessions bigint)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = telemetry, pg_temp AS $$
  SELECT n.node_id, n.ingest_url,
         (SELECT count(*) FROM telemetry.sessions s WHERE s.node_id = n.node_id AND s.state = 'open')
  FROM telemetry.nodes n
  WHERE n.ready_since IS NOT NULL AND n.lease_until > clock_timestamp()
$$;

-- The id of the organisation of this name, made if there is none. An organisation's row names its own tenant, so it
-- cannot be inserted before its id is known; and the same name must lead to the same organisation again.
CREATE FUNCTION core.provision_organisation(organisation_name text)
  RETURNS TABLE (organisation_id bigint, created boolean)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('core.provision_organisation'), hashtext(organisation_name));
  RETURN QUERY SELECT min(o.id), false FROM core.organisations o WHERE o.name = organisation_name HAVING count(*) > 0;
  IF NOT FOUND THEN
    RETURN QUERY INSERT INTO core.organisations (name) VALUES (organisation_name) RETURNING id, true;
  END IF;
END
$$;

REVOKE ALL ON FUNCTION telemetry.live_nodes, core.provision_organisation FROM PUBLIC;
GRANT EXECUTE ON FUNCTION telemetry.live_nodes, core.provision_organisation TO restartix_core_api;

RESET ROLE;

-- migrate:down
SET LOCAL ROLE restartix_owner;
DROP FUNCTION telemetry.live_nodes, core.provision_organisation;
RESET ROLE;
