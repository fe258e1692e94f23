-- migrate:up
SET LOCAL ROLE restartix_owner;

-- The audit log as a chain of hashes, one an organisation. A row is written in the transaction it records; its link is
-- made by a deferred trigger, so the organisation's head is locked last before COMMIT, whoever wrote the row: the Core
-- API, or one of the functions that write rows of their own.
--
-- A link covers the row through a digest. The actor is in that digest only as a salted commitment, so an erasure can
-- take the actor and the salt out of the row and the chain still holds; and links outlive the rows that retention
-- deletes, so what was deleted early shows.
CREATE TABLE core.audit_heads (
  organisation_id bigint PRIMARY KEY REFERENCES core.organisations,
  sequence bigint NOT NULL,
  link bytea NOT NULL CHECK (length(link) = 32),
  state_key bytea NOT NULL CHECK (length(state_key) = 32)
);
CREATE TABLE core.audit_chain (
  organisation_id bigint NOT NULL REFERENCES core.organisations,
  sequence bigint NOT NULL CHECK (sequence > 0),
  audit_id bigint NOT NULL,
  chained_at timestamptz NOT NULL,
  actor_commitment bytea NOT NULL CHECK (length(actor_commitment) = 32),
  row_digest bytea NOT NULL CHECK (length(row_digest) = 32),
  link bytea NOT NULL CHECK (length(link) = 32),
  PRIMARY KEY (organisation_id, sequence),
  UNIQUE (audit_id)
);
ALTER TABLE core.audit_log
  ADD COLUMN actor_salt bytea,
  ADD COLUMN state_before bytea,
  ADD COLUMN state_after bytea;

COMMENT ON TABLE core.audit_heads IS 'The end of each organisation''s audit chain; locked for the moment of a commit.';
COMMENT ON COLUMN core.audit_heads.organisation_id IS 'internal: tenant';
COMMENT ON COLUMN core.audit_heads.sequence IS 'internal: number of the last link';
COMMENT ON COLUMN core.audit_heads.link IS 'internal: the last link';
COMMENT ON COLUMN core.audit_heads.state_key IS 'internal: key of the organisation''s state references; no role reads it';
COMMENT ON TABLE core.audit_chain IS 'One link a row of the audit log; never changed or deleted.';
COMMENT ON COLUMN core.audit_chain.organisation_id IS 'internal: tenant';
COMMENT ON COLUMN core.audit_chain.sequence IS 'internal: n-th link of the organisation, without gaps';
COMMENT ON COLUMN core.audit_chain.audit_id IS 'internal: row of the audit log';
COMMENT ON COLUMN core.audit_chain.chained_at IS 'internal: when the link was made';
COMMENT ON COLUMN core.audit_chain.actor_commitment IS 'internal: SHA-256 of salt and actor';
COMMENT ON COLUMN core.audit_chain.row_digest IS 'internal: SHA-256 of the row, its actor by commitment';
COMMENT ON COLUMN core.audit_chain.link IS 'internal: SHA-256 of the link before, the sequence and the digest';
COMMENT ON COLUMN core.audit_log.actor_salt IS 'internal: salt of the actor''s commitment; null: the actor was erased';
COMMENT ON COLUMN core.audit_log.state_before IS
  'internal: reference of the entity''s state as it was last audited; null: first, or an entity without a row';
COMMENT ON COLUMN core.audit_log.state_after IS 'internal: reference of the entity''s state after it; null: it has no row';

ALTER TABLE core.audit_heads ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE core.audit_chain ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON core.audit_heads TO restartix_owner USING (true) WITH CHECK (true);
CREATE POLICY owner ON core.audit_chain TO restartix_owner USING (true) WITH CHECK (true);
CREATE POLICY tenant ON core.audit_heads FOR SELECT TO restartix_core_api
  USING (organisation_id = core.current_organisation_id());
CREATE POLICY tenant ON core.audit_chain FOR SELECT TO restartix_core_api
  USING (organisation_id = core.current_organisation_id());
GRANT SELECT (organisation_id, sequence, link) ON core.audit_heads TO restartix_core_api;
GRANT SELECT ON core.audit_chain TO restartix_core_api;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON core.audit_chain
  FOR EACH STATEMENT EXECUTE FUNCTION core.refuse_change();

-- A field as the digest takes it: its length in bytes, then itself; NULL is '-'. No two rows read the same.
CREATE FUNCTION core.audit_field(value text) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT coalesce(octet_length(convert_to(value, 'UTF8')) || ':' || value, '-')
$$;

CREATE FUNCTION core.audit_commitment(salt bytea, actor uuid) RETURNS bytea
  LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT sha256(salt || convert_to(coalesce(actor::text, '-'), 'UTF8'))
$$;

CREATE FUNCTION core.audit_digest(entry core.audit_log, commitment bytea) RETURNS bytea
  LANGUAGE sql STABLE AS $$
  SELECT sha256(convert_to(
    core.audit_field(entry.id::text) || core.audit_field(entry.organisation_id::text)
    || core.audit_field(to_char(entry.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'))
    || core.audit_field(encode(commitment, 'hex')) || core.audit_field(entry.actor_role)
    || core.audit_field(entry.action) || core.audit_field(entry.entity) || core.audit_field(entry.entity_id)
    || core.audit_field(entry.session_id::text) || core.audit_field(entry.purpose)
    || core.audit_field(entry.details::text) || core.audit_field(encode(entry.state_before, 'hex'))
    || core.audit_field(encode(entry.state_after, 'hex')), 'UTF8'))
$$;

-- The state of an entity's row by reference: a keyed hash, which tells whether two states are the same and nothing
-- about either. NULL where the entity is none of these tables, or has no such row.
CREATE FUNCTION core.state_reference(entity text, entity_id text, key bytea) RETURNS bytea
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  reference bytea;
BEGIN
  IF entity = ANY (ARRAY['core.organisations', 'core.patients', 'core.specialists', 'core.exercises',
       'core.service_plans', 'core.service_plan_payments', 'core.treatment_plans', 'core.patient_treatment_plans',
       'core.patient_session_completions', 'core.patient_exercise_logs', 'core.form_templates', 'core.forms',
       'core.consents']) AND entity_id ~ '^[0-9]{1,18}$' THEN
    EXECUTE 'SELECT sha256($2 || convert_to(t::text, ''UTF8'')) FROM ' || entity || ' t WHERE id = $1::bigint'
      INTO reference USING entity_id, key;
  ELSIF entity = 'telemetry.sessions' AND entity_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN
    EXECUTE 'SELECT sha256($2 || convert_to(t::text, ''UTF8'')) FROM telemetry.sessions t WHERE session_id = $1::uuid'
      INTO reference USING entity_id, key;
  END IF;
  RETURN reference;
END
$$;

CREATE FUNCTION core.stamp_audit() RETURNS trigger LANGUAGE plpgsql
  SECURITY DEFINER SET search_path = core, pg_temp AS $$
DECLARE
  key bytea;
BEGIN
  SELECT h.state_key INTO key FROM core.audit_heads h WHERE h.organisation_id = NEW.organisation_id;
  IF key IS NULL THEN
    INSERT INTO core.audit_heads (organisation_id, sequence, link, state_key)
    VALUES (NEW.organisation_id, 0, sha256(convert_to('restartix audit ' || NEW.organisation_id, 'UTF8')),
            sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')))
    ON CONFLICT DO NOTHING;
    SELECT h.state_key INTO key FROM core.audit_heads h WHERE h.organisation_id = NEW.organisation_id;
  END IF;
  NEW.actor_salt := uuid_send(gen_random_uuid());
  NEW.state_before := (SELECT a.state_after FROM core.audit_log a
                       WHERE a.entity = NEW.entity AND a.entity_id = NEW.entity_id
                         AND a.organisation_id = NEW.organisation_id
                       ORDER BY a.id DESC LIMIT 1);
  NEW.state_after := core.state_reference(NEW.entity, NEW.entity_id, key);
  RETURN NEW;
END
$$;
CREATE TRIGGER stamp BEFORE INSERT ON core.audit_log FOR EACH ROW EXECUTE FUNCTION core.stamp_audit();

CREATE FUNCTION core.chain_audit() RETURNS trigger LANGUAGE plpgsql
  SECURITY DEFINER SET search_path = core, pg_temp AS $$
DECLARE
  head core.audit_heads;
  commitment bytea := core.audit_commitment(NEW.actor_salt, NEW.actor_principal_id);
  digest bytea := core.audit_digest(NEW, commitment);
BEGIN
  SELECT * INTO STRICT head FROM core.audit_heads h WHERE h.organisation_id = NEW.organisation_id FOR UPDATE;
  head.sequence := head.sequence + 1;
  head.link := sha256(head.link || int8send(head.sequence) || digest);
  INSERT INTO core.audit_chain (organisation_id, sequence, audit_id, chained_at, actor_commitment, row_digest, link)
  VALUES (NEW.organisation_id, head.sequence, NEW.id, clock_timestamp(), commitment, digest, head.link);
  UPDATE core.audit_heads h SET sequence = head.sequence, link = head.link
  WHERE h.organisation_id = NEW.organisation_id;
  RETURN NULL;
END
$$;

-- What is there already is chained as it is: from here on it cannot be changed unnoticed.
DO $$
DECLARE
  entry core.audit_log;
  head core.audit_heads;
  commitment bytea;
  digest bytea;
BEGIN
  ALTER TABLE core.audit_log DISABLE TRIGGER append_only;
  UPDATE core.audit_log SET actor_salt = uuid_send(gen_random_uuid());
  ALTER TABLE core.audit_log ENABLE TRIGGER append_only;
  INSERT INTO core.audit_heads (organisation_id, sequence, link, state_key)
  SELECT o.id, 0, sha256(convert_to('restartix audit ' || o.id, 'UTF8')),
         sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8'))
  FROM core.organisations o;
  FOR entry IN SELECT * FROM core.audit_log ORDER BY id LOOP
    SELECT * INTO STRICT head FROM core.audit_heads h WHERE h.organisation_id = entry.organisation_id;
    commitment := core.audit_commitment(entry.actor_salt, entry.actor_principal_id);
    digest := core.audit_digest(entry, commitment);
    head.sequence := head.sequence + 1;
    head.link := sha256(head.link || int8send(head.sequence) || digest);
    INSERT INTO core.audit_chain (organisation_id, sequence, audit_id, chained_at, actor_commitment, row_digest, link)
    VALUES (entry.organisation_id, head.sequence, entry.id, clock_timestamp(), commitment, digest, head.link);
    UPDATE core.audit_heads h SET sequence = head.sequence, link = head.link
    WHERE h.organisation_id = entry.organisation_id;
  END LOOP;
END
$$;

CREATE CONSTRAINT TRIGGER chain AFTER INSERT ON core.audit_log
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION core.chain_audit();

-- A row never changes, but for its actor being taken out, salt and all, by an erasure: who it was is then beyond
-- recovery, and the commitment in the chain still stands for it.
CREATE FUNCTION core.refuse_audit_change() RETURNS trigger LANGUAGE plpgsql
  SET search_path = core, pg_temp AS $$
DECLARE
  redacted core.audit_log := OLD;
BEGIN
  redacted.actor_principal_id := NEW.actor_principal_id;
  redacted.actor_salt := NULL;
  IF current_user <> 'restartix_owner' OR NEW IS DISTINCT FROM redacted THEN
    RAISE EXCEPTION 'core.audit_log is append-only' USING ERRCODE = 'insufficient_privilege';
  END IF;
  RETURN NEW;
END
$$;
DROP TRIGGER append_only ON core.audit_log;
CREATE TRIGGER append_only BEFORE TRUNCATE ON core.audit_log
  FOR EACH STATEMENT EXECUTE FUNCTION core.refuse_change();
CREATE TRIGGER append_only_rows BEFORE UPDATE ON core.audit_log
  FOR EACH ROW EXECUTE FUNCTION core.refuse_audit_change();

-- Which organisations have a chain: ids only, for who verifies them one by one.
CREATE FUNCTION core.audited_organisations() RETURNS TABLE (organisation_id bigint)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = core, pg_temp AS $$
  SELECT h.organisation_id FROM core.audit_heads h ORDER BY 1
$$;

REVOKE ALL ON FUNCTION core.audit_field, core.audit_commitment, core.audit_digest, core.state_reference,
  core.stamp_audit, core.chain_audit, core.refuse_audit_change, core.audited_organisations FROM PUBLIC;
GRANT EXECUTE ON FUNCTION core.audited_organisations TO restartix_core_api;

RESET ROLE;

-- migrate:down
SET LOCAL ROLE restartix_owner;
DROP TRIGGER append_only_rows ON core.audit_log;
DROP TRIGGER append_only ON core.audit_log;
DROP TRIGGER chain ON core.audit_log;
DROP TRIGGER stamp ON core.audit_log;
CREATE TRIGGER append_only BEFORE UPDATE OR TRUNCATE ON core.audit_log
  FOR EACH STATEMENT EXECUTE FUNCTION core.refuse_change();
DROP FUNCTION core.audited_organisations, core.refuse_audit_change, core.chain_audit, core.stamp_audit,
  core.state_reference, core.audit_digest, core.audit_commitment, core.audit_field;
DROP TABLE core.audit_chain, core.audit_heads;
ALTER TABLE core.audit_log DROP COLUMN actor_salt, DROP COLUMN state_before, DROP COLUMN state_after;
RESET ROLE;
