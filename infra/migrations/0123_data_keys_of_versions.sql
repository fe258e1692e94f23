-- migrate:up
SET LOCAL ROLE restartix_owner;

-- A data key can be replaced: the present one has a number, and those before it are kept until nothing is sealed with
-- them any more.
ALTER TABLE core.organisation_keys ADD COLUMN version integer NOT NULL DEFAULT 1 CHECK (version BETWEEN 1 AND 65535);
CREATE TABLE core.retired_keys (
  organisation_id bigint NOT NULL REFERENCES core.organisations,
  version integer NOT NULL CHECK (version BETWEEN 1 AND 65535),
  wrapped_key bytea NOT NULL,
  key_id text NOT NULL,
  retired_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (organisation_id, version)
);
COMMENT ON COLUMN core.organisation_keys.version IS 'internal: number of the data key; sealed values name it';
COMMENT ON COLUMN core.retired_keys.organisation_id IS 'internal: tenant';
COMMENT ON COLUMN core.retired_keys.version IS 'internal: number the data key had';
COMMENT ON COLUMN core.retired_keys.wrapped_key IS 'internal: the data key, wrapped by the master key';
COMMENT ON COLUMN core.retired_keys.key_id IS 'internal: master key that wraps it';
COMMENT ON COLUMN core.retired_keys.retired_at IS 'internal: when another took its place';

ALTER TABLE core.retired_keys ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON core.retired_keys TO restartix_owner USING (true) WITH CHECK (true);
CREATE POLICY tenant ON core.retired_keys TO restartix_core_api
  USING (organisation_id = core.current_organisation_id())
  WITH CHECK (organisation_id = core.current_organisation_id());
GRANT SELECT, INSERT, UPDATE (wrapped_key, key_id), DELETE ON core.retired_keys TO restartix_core_api;

RESET ROLE;

-- migrate:down
SET LOCAL ROLE restartix_owner;
-- What a second or later key sealed names it: without the numbers none of that could be read.
DO $$
BEGIN
  IF EXISTS (SELECT FROM core.organisation_keys WHERE version > 1) THEN
    RAISE EXCEPTION 'an organisation''s data key was replaced: the numbers of keys cannot be taken back';
  END IF;
END
$$;
DROP TABLE core.retired_keys;
ALTER TABLE core.organisation_keys DROP COLUMN version;
RESET ROLE;
