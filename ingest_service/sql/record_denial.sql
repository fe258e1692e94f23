select telemetry.record_denial(
  %(organisation_id)s, %(principal_id)s::uuid, %(session_id)s::uuid, %(purpose)s, %(reason)s
)
