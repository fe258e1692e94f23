-- Per exercise over the plan's completed sessions. An exercise started twice in one session is done once there. What is
-- neither done nor skipped was only started, or left: core.counts_as_done is the one rule.
WITH per_session AS (
  SELECT l.exercise_id, bool_and(l.skipped) AS skipped,
         bool_or(core.counts_as_done(l.skipped, l.reported, ends.as_completed, l.actual_reps, l.actual_reps_source,
                                     l.prescribed_sets, l.prescribed_reps)) AS done,
         coalesce(bool_or(l.incomplete) FILTER (WHERE NOT l.skipped), false) AS incomplete,
         coalesce(sum(l.video_watch_percentage) FILTER (WHERE NOT l.skipped), 0) AS watch_percent_sum,
         count(l.video_watch_percentage) FILTER (WHERE NOT l.skipped) AS watch_count,
         coalesce(sum(l.pose_accuracy_score) FILTER (WHERE NOT l.skipped), 0) AS form_score_sum,
         count(l.pose_accuracy_score) FILTER (WHERE NOT l.skipped) AS form_count
  FROM core.patient_session_completions psc
  JOIN core.patient_exercise_logs l ON l.session_completion_id = psc.id
  LEFT JOIN LATERAL (
    SELECT bool_or(s.end_reason = 'completed') AS as_completed
    FROM telemetry.sessions s WHERE s.patient_exercise_log_id = l.id) AS ends ON true
  WHERE psc.patient_treatment_plan_id = %(plan_id)s AND psc.status = 'completed'
  GROUP BY psc.id, l.exercise_id
), per_exercise AS (
  SELECT exercise_id, count(*) AS total, count(*) FILTER (WHERE done) AS done, count(*) FILTER (WHERE skipped) AS skipped,
         count(*) FILTER (WHERE incomplete) AS incomplete, sum(watch_percent_sum) AS watch_percent_sum,
         sum(watch_count)::bigint AS watch_count, sum(form_score_sum) AS form_score_sum,
         sum(form_count)::bigint AS form_count
  FROM per_session GROUP BY exercise_id
), prescribed AS (
  SELECT exercise_id, sort_order FROM core.treatment_plan_exercises WHERE treatment_plan_id = %(treatment_plan_id)s
), shown AS (
  SELECT exercise_id FROM prescribed UNION SELECT exercise_id FROM per_exercise
)
SELECT e.id AS exercise_id, e.name, coalesce(p.total, 0) AS total, coalesce(p.done, 0) AS done,
       coalesce(p.skipped, 0) AS skipped, coalesce(p.incomplete, 0) AS incomplete,
       coalesce(p.watch_percent_sum, 0) AS watch_percent_sum, coalesce(p.watch_count, 0) AS watch_count,
       coalesce(p.form_score_sum, 0) AS form_score_sum, coalesce(p.form_count, 0) AS form_count
FROM shown
JOIN core.exercises e ON e.id = shown.exercise_id
LEFT JOIN prescribed ON prescribed.exercise_id = shown.exercise_id
LEFT JOIN per_exercise p ON p.exercise_id = shown.exercise_id
ORDER BY prescribed.sort_order NULLS LAST, e.id
