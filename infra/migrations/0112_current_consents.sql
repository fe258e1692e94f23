-- migrate:up
SET LOCAL ROLE restartix_owner;

-- What holds now, a row a patient and purpose: who said it, when, and on which version of which form. A purpose nobody
-- spoke about has no row, and no row means no. Read under the policies of whoever asks.
CREATE VIEW core.current_consents WITH (security_invoker = true) AS
SELECT DISTINCT ON (c.patient_id, c.purpose)
       c.organisation_id, c.patient_id, c.purpose, c.granted, c.effective_at, c.recorded_by, c.id AS consent_id, c.form_id,
       t.name AS form_name, t.version AS form_version
FROM core.consents c
LEFT JOIN core.forms f ON f.id = c.form_id
LEFT JOIN core.form_templates t ON t.id = f.form_template_id
ORDER BY c.patient_id, c.purpose, c.id DESC;
COMMENT ON VIEW core.current_consents IS 'The consent ledger''s state: the latest row of each patient and purpose.';
GRANT SELECT ON core.current_consents TO restartix_core_api;

RESET ROLE;

-- migrate:down
SET LOCAL ROLE restartix_owner;
DROP VIEW core.current_consents;
RESET ROLE;
