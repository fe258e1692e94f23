INSERT INTO telemetry.replay_retags (organisation_id, session_id, deleted_key)
VALUES (core.current_organisation_id(), %(session_id)s, %(deleted_key)s)
