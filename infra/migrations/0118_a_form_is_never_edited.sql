-- migrate:up
SET LOCAL ROLE restartix_owner;

-- A consent names the form that was answered, and by it the words: a template that exists never changes, whatever the
-- service does. What is changed is a new version.
REVOKE UPDATE ON core.form_templates FROM restartix_core_api;

RESET ROLE;

-- migrate:down
SET LOCAL ROLE restartix_owner;
GRANT UPDATE ON core.form_templates TO restartix_core_api;
RESET ROLE;
