-- migrate:up
SET LOCAL ROLE restartix_owner;

-- Asking for an erasure as the clinic, within its own tenant. The caller writes the audit row: it knows who asks.
-- Gives the erasure of this patient, and whether it was made now; no row where the tenant has no such patient.
CREATE FUNCTION core.request_erasure(erasing uuid, of_patient_id bigint, as_patient_id bigint, asked_by text)
  RETURNS TABLE (erasure_id uuid, is_new boolean)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = core, pg_temp AS $$
DECLARE
  tenant bigint := core.current_organisation_id();
  principal uuid;
  running uuid;
BEGIN
  SELECT p.principal_id INTO principal FROM core.patients p
  WHERE p.organisation_id = tenant AND p.id = of_patient_id FOR UPDATE;
  IF principal IS NULL THEN
    RETURN;
  END IF;
  SELECT e.id INTO running FROM core.erasures e
  WHERE e.organisation_id = tenant AND e.patient_id = of_patient_id
    AND e.principal_check = sha256(convert_to(e.id::text || principal, 'UTF8'));
  IF running IS NOT NULL THEN
    RETURN QUERY SELECT running, false;
    RETURN;
  END IF;
  INSERT INTO core.erasures (id, organisation_id, patient_id, retained_patient_id, principal_check, requested_by)
  VALUES (erasing, tenant, of_patient_id, as_patient_id, sha256(convert_to(erasing::text || principal, 'UTF8')),
          asked_by);
  INSERT INTO core.erasure_steps (erasure_id, step, organisation_id, counts)
  VALUES (erasing, 'requested', tenant, jsonb_build_object('patient_id', of_patient_id));
  RETURN QUERY SELECT erasing, true;
END
$$;
REVOKE ALL ON FUNCTION core.request_erasure FROM PUBLIC;
GRANT EXECUTE ON FUNCTION core.request_erasure TO restartix_core_api;

CREATE POLICY tenant ON core.erasure_steps FOR SELECT TO restartix_core_api
  USING (organisation_id = core.current_organisation_id());
CREATE POLICY tenant ON core.erasure_sessions FOR SELECT TO restartix_core_api
  USING (organisation_id = core.current_organisation_id());
GRANT SELECT ON core.erasure_steps, core.erasure_sessions TO restartix_core_api;

RESET ROLE;

-- migrate:down
SET LOCAL ROLE restartix_owner;
REVOKE SELECT ON core.erasure_steps, core.erasure_sessions FROM restartix_core_api;
DROP POLICY tenant ON core.erasure_sessions;
DROP POLICY tenant ON core.erasure_steps;
DROP FUNCTION core.request_erasure;
RESET ROLE;
