-- migrate:up
-- Roles are group roles without login: whoever runs the system makes logins and grants them one role each.
-- They are shared by all databases of a server, so an existing one is kept.
DO $$
DECLARE
  role_name text;
BEGIN
  FOREACH role_name IN ARRAY ARRAY[
    'restartix_owner', 'restartix_ingest', 'restartix_finaliser', 'restartix_sweeper', 'restartix_core_api',
    'restartix_subscriber', 'restartix_analytics_builder', 'restartix_analyst', 'restartix_console'
  ] LOOP
    BEGIN
      EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
    EXCEPTION WHEN duplicate_object OR unique_violation THEN
      NULL;  -- another database of this server made it
    END;
  END LOOP;
  EXECUTE format('GRANT restartix_owner, restartix_analytics_builder TO %I', current_user);
  EXECUTE format('GRANT CREATE ON DATABASE %I TO restartix_owner', current_database());
  -- The reference queries name tables without a schema.
  EXECUTE format('ALTER DATABASE %I SET search_path TO core, public', current_database());
END
$$;

CREATE SCHEMA core AUTHORIZATION restartix_owner;
CREATE SCHEMA telemetry AUTHORIZATION restartix_owner;
CREATE SCHEMA bus AUTHORIZATION restartix_owner;
CREATE SCHEMA analytics AUTHORIZATION restartix_analytics_builder;
CREATE SCHEMA analytics_staging AUTHORIZATION restartix_analytics_builder;
CREATE SCHEMA analytics_intermediate AUTHORIZATION restartix_analytics_builder;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO PUBLIC;

GRANT USAGE ON SCHEMA core TO
  restartix_ingest, restartix_finaliser, restartix_core_api, restartix_subscriber, restartix_analytics_builder,
  restartix_analyst;
GRANT USAGE ON SCHEMA telemetry TO
  restartix_ingest, restartix_finaliser, restartix_sweeper, restartix_core_api, restartix_subscriber,
  restartix_analytics_builder, restartix_analyst;
GRANT USAGE ON SCHEMA bus TO restartix_finaliser, restartix_subscriber;
GRANT USAGE ON SCHEMA analytics TO restartix_core_api, restartix_analyst, restartix_console;

-- The tenant of the running transaction, as a service role set it with set_config('app.org_id', ..., true);
-- NULL (so: no row) where it was not set.
CREATE FUNCTION core.current_organisation_id() RETURNS bigint
  LANGUAGE sql STABLE PARALLEL SAFE
  AS $$ SELECT nullif(current_setting('app.org_id', true), '')::bigint $$;
ALTER FUNCTION core.current_organisation_id() OWNER TO restartix_owner;

-- migrate:down
DROP FUNCTION core.current_organisation_id();
DROP SCHEMA analytics_intermediate, analytics_staging, analytics, bus, telemetry, core;
