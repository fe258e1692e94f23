-- migrate:up
SET LOCAL ROLE restartix_owner;

-- An exercise without a movement that a camera can see has no count, which is not the same as a count of 0.
ALTER TABLE telemetry.pose_session_metrics
  ALTER COLUMN rep_count DROP NOT NULL,
  ALTER COLUMN active_duration_ms DROP NOT NULL,
  ADD COLUMN partial_rep_count integer,
  ADD COLUMN held_ms integer,
  ADD COLUMN empty_reason text;
COMMENT ON COLUMN telemetry.pose_session_metrics.partial_rep_count IS
  'biometric: repetitions begun and not carried through; not in rep_count';
COMMENT ON COLUMN telemetry.pose_session_metrics.held_ms IS 'biometric: time in holds; null: not an exercise that is held';
COMMENT ON COLUMN telemetry.pose_session_metrics.empty_reason IS
  'internal: why there is no repetition; null: there is one';

-- Results stored before these columns keep null in them.
ALTER TABLE telemetry.pose_rep_metrics
  ADD COLUMN cycle_start_ms integer,
  ADD COLUMN cycle_end_ms integer,
  ADD COLUMN range_score numeric(5, 2),
  ADD COLUMN tempo_score numeric(5, 2),
  ADD COLUMN smoothness_score numeric(5, 2),
  ADD COLUMN symmetry_score numeric(5, 2),
  ADD COLUMN compensation_score numeric(5, 2),
  ADD COLUMN reference_score numeric(5, 2),
  ADD COLUMN consistency_score numeric(5, 2),
  ADD COLUMN reason text,
  ADD COLUMN smoothness_sparc numeric(8, 4),
  ADD COLUMN deviation_at_ms integer;
COMMENT ON COLUMN telemetry.pose_rep_metrics.cycle_start_ms IS 'clinical: start of the cycle, with its share of the rest';
COMMENT ON COLUMN telemetry.pose_rep_metrics.cycle_end_ms IS 'clinical: end of the cycle, with its share of the rest';
COMMENT ON COLUMN telemetry.pose_rep_metrics.range_score IS 'biometric: range of motion against the target, 0 to 100';
COMMENT ON COLUMN telemetry.pose_rep_metrics.tempo_score IS 'biometric: tempo against the profile, 0 to 100';
COMMENT ON COLUMN telemetry.pose_rep_metrics.smoothness_score IS 'biometric: smoothness, 0 to 100';
COMMENT ON COLUMN telemetry.pose_rep_metrics.symmetry_score IS 'biometric: both sides alike, 0 to 100';
COMMENT ON COLUMN telemetry.pose_rep_metrics.compensation_score IS 'biometric: free of named compensations, 0 to 100';
COMMENT ON COLUMN telemetry.pose_rep_metrics.reference_score IS 'biometric: agreement with the reference, 0 to 100';
COMMENT ON COLUMN telemetry.pose_rep_metrics.consistency_score IS 'biometric: alike from one repetition to the next, 0 to 100';
COMMENT ON COLUMN telemetry.pose_rep_metrics.reason IS 'biometric: why the repetition lost points, one sentence';
COMMENT ON COLUMN telemetry.pose_rep_metrics.smoothness_sparc IS 'biometric: spectral arc length, nearer 0 is smoother';
COMMENT ON COLUMN telemetry.pose_rep_metrics.deviation_at_ms IS 'clinical: when the largest deviation was';

-- What a plan may ask for in place of the movement profile's own figures.
ALTER TABLE core.treatment_plan_exercises
  ADD COLUMN target_low_deg numeric(5, 1) CHECK (target_low_deg BETWEEN -180 AND 360),
  ADD COLUMN target_high_deg numeric(5, 1) CHECK (target_high_deg BETWEEN -180 AND 360),
  ADD COLUMN hold_ms integer CHECK (hold_ms > 0),
  ADD CHECK (target_low_deg <= target_high_deg);
COMMENT ON COLUMN core.treatment_plan_exercises.target_low_deg IS 'clinical: range of motion asked for, at least';
COMMENT ON COLUMN core.treatment_plan_exercises.target_high_deg IS 'clinical: range of motion asked for, at most';
COMMENT ON COLUMN core.treatment_plan_exercises.hold_ms IS 'clinical: how long each hold is to last';

RESET ROLE;

-- migrate:down
SET LOCAL ROLE restartix_owner;
ALTER TABLE core.treatment_plan_exercises
  DROP COLUMN target_low_deg, DROP COLUMN target_high_deg, DROP COLUMN hold_ms;
ALTER TABLE telemetry.pose_rep_metrics
  DROP COLUMN cycle_start_ms, DROP COLUMN cycle_end_ms, DROP COLUMN range_score, DROP COLUMN tempo_score,
  DROP COLUMN smoothness_score, DROP COLUMN symmetry_score, DROP COLUMN compensation_score,
  DROP COLUMN reference_score, DROP COLUMN consistency_score, DROP COLUMN reason, DROP COLUMN smoothness_sparc,
  DROP COLUMN deviation_at_ms;
UPDATE telemetry.pose_session_metrics SET rep_count = coalesce(rep_count, 0),
  active_duration_ms = coalesce(active_duration_ms, 0) WHERE rep_count IS NULL OR active_duration_ms IS NULL;
ALTER TABLE telemetry.pose_session_metrics
  DROP COLUMN partial_rep_count, DROP COLUMN held_ms, DROP COLUMN empty_reason,
  ALTER COLUMN rep_count SET NOT NULL, ALTER COLUMN active_duration_ms SET NOT NULL;
RESET ROLE;
