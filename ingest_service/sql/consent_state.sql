-- The ledger's state of each purpose, for the patients of the sessions this worker serves.
select organisation_id, principal_id, purpose, granted, effective_at, withdrawn_at
from core.consent_state(%(organisation_ids)s::bigint[], %(principal_ids)s::uuid[])
