-- migrate:up
SET LOCAL ROLE restartix_owner;

-- What a patient's own reference session taught: how this patient does one exercise when a specialist calls it right.
-- One is current for a patient and exercise, earlier ones stay as history: sessions scored against them name them.
--
-- It is computed from landmarks, so it is biometric. It is kept as movement figures are: no longer than its session,
-- which retention deletes 2557 days after it began, and the row with it (ON DELETE CASCADE). Erasing a patient must
-- delete the patient's rows here, history included, and `telemetry.sessions.movement_profile` where
-- `personal_reference_id` is set (the reference is frozen in it); a session in state 'erased' keeps its row, so the
-- cascade alone does not do it.
CREATE TABLE core.personal_references (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  organisation_id bigint NOT NULL REFERENCES core.organisations,
  patient_id bigint NOT NULL REFERENCES core.patients,
  exercise_id bigint NOT NULL REFERENCES core.exercises,
  session_id uuid NOT NULL REFERENCES telemetry.sessions ON DELETE CASCADE,
  revision integer NOT NULL,
  blob_version_id text,
  movement_profile text NOT NULL,
  rep_count integer NOT NULL CHECK (rep_count >= 3),
  reference jsonb NOT NULL,
  learnt_at timestamptz NOT NULL,
  ended_at timestamptz
);
CREATE UNIQUE INDEX one_current_reference ON core.personal_references (patient_id, exercise_id) WHERE ended_at IS NULL;
CREATE INDEX ON core.personal_references (session_id);

COMMENT ON COLUMN core.personal_references.id IS 'internal: key';
COMMENT ON COLUMN core.personal_references.organisation_id IS 'internal: tenant';
COMMENT ON COLUMN core.personal_references.patient_id IS 'personal: patient, by key';
COMMENT ON COLUMN core.personal_references.exercise_id IS 'internal: exercise';
COMMENT ON COLUMN core.personal_references.session_id IS 'internal: exercise session it was learnt from';
COMMENT ON COLUMN core.personal_references.revision IS 'internal: that session''s result it was learnt from';
COMMENT ON COLUMN core.personal_references.blob_version_id IS 'internal: version of the replay blob it was learnt from';
COMMENT ON COLUMN core.personal_references.movement_profile IS 'internal: movement profile it belongs to';
COMMENT ON COLUMN core.personal_references.rep_count IS 'clinical: repetitions it was learnt from';
COMMENT ON COLUMN core.personal_references.reference IS 'biometric: range, compensations and template of the patient''s own repetitions';
COMMENT ON COLUMN core.personal_references.learnt_at IS 'clinical: when it became the reference';
COMMENT ON COLUMN core.personal_references.ended_at IS 'clinical: when another took its place, or the mark was taken off; null: current';

ALTER TABLE core.personal_references ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON core.personal_references TO restartix_owner USING (true) WITH CHECK (true);
CREATE POLICY tenant ON core.personal_references TO restartix_core_api
  USING (organisation_id = core.current_organisation_id())
  WITH CHECK (organisation_id = core.current_organisation_id());
GRANT SELECT, INSERT, UPDATE (ended_at) ON core.personal_references TO restartix_core_api;

-- Which reference a session is scored against: frozen at its start, inside its movement profile.
ALTER TABLE telemetry.sessions
  ADD COLUMN personal_reference_id bigint REFERENCES core.personal_references ON DELETE SET NULL;
CREATE INDEX ON telemetry.sessions (personal_reference_id) WHERE personal_reference_id IS NOT NULL;
COMMENT ON COLUMN telemetry.sessions.personal_reference_id IS
  'internal: the patient''s own reference that is frozen in the movement profile; null: the exercise''s alone';

RESET ROLE;

-- migrate:down
SET LOCAL ROLE restartix_owner;
ALTER TABLE telemetry.sessions DROP COLUMN personal_reference_id;
DROP TABLE core.personal_references;
RESET ROLE;
