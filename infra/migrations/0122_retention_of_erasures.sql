-- migrate:up
SET LOCAL ROLE restartix_owner;

-- An erasure's record (its certificate, steps and sessions) goes by retention too, counted from its certificate; one that
-- is not certified stays. So does what is registered of an export.
CREATE FUNCTION telemetry.expire_erasures(kept_days integer, max_rows integer) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, telemetry, pg_temp AS $$
DECLARE
  cutoff timestamptz := telemetry.expiry_cutoff(kept_days, 365);
  expired uuid[];
BEGIN
  SELECT array_agg(id) INTO expired FROM (
    SELECT e.id FROM core.erasures e
    JOIN core.erasure_steps s ON s.erasure_id = e.id AND s.step = 'certified'
    WHERE e.certificate IS NOT NULL AND s.done_at < cutoff
    ORDER BY s.done_at LIMIT max_rows FOR UPDATE OF e SKIP LOCKED) AS oldest;
  IF expired IS NULL THEN
    RETURN 0;
  END IF;
  DELETE FROM core.erasure_sessions WHERE erasure_id = ANY (expired);
  DELETE FROM core.erasure_steps WHERE erasure_id = ANY (expired);
  DELETE FROM core.erasures WHERE id = ANY (expired);
  RETURN cardinality(expired);
END
$$;

CREATE FUNCTION telemetry.expire_exports(kept_days integer, max_rows integer) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, telemetry, pg_temp AS $$
DECLARE
  cutoff timestamptz := telemetry.expiry_cutoff(kept_days, 365);
  gone integer;
BEGIN
  DELETE FROM core.exports WHERE id IN (
    SELECT x.id FROM core.exports x WHERE x.made_at < cutoff
    ORDER BY x.made_at LIMIT max_rows FOR UPDATE SKIP LOCKED);
  GET DIAGNOSTICS gone = ROW_COUNT;
  RETURN gone;
END
$$;

CREATE FUNCTION telemetry.oldest_erasure() RETURNS timestamptz
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = core, pg_temp AS $$
  SELECT min(s.done_at) FROM core.erasure_steps s WHERE s.step = 'certified'
$$;
CREATE FUNCTION telemetry.oldest_export() RETURNS timestamptz
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = core, pg_temp AS $$
  SELECT min(made_at) FROM core.exports
$$;

REVOKE ALL ON FUNCTION telemetry.expire_erasures, telemetry.expire_exports, telemetry.oldest_erasure,
  telemetry.oldest_export FROM PUBLIC;
GRANT EXECUTE ON FUNCTION telemetry.expire_erasures, telemetry.expire_exports, telemetry.oldest_erasure,
  telemetry.oldest_export TO restartix_sweeper;

RESET ROLE;

-- migrate:down
SET LOCAL ROLE restartix_owner;
DROP FUNCTION telemetry.oldest_export, telemetry.oldest_erasure, telemetry.expire_exports, telemetry.expire_erasures;
RESET ROLE;
