-- Every payment is in exactly one row of revenue_per_plan.
{{ config(group='analytics', meta={'dagster': {'ref': {'name': 'revenue_per_plan'}}}) }}

with

shown as (
  select organisation_id, currency, sum(paid_cents) as cents, sum(payments) as payments
  from {{ ref('revenue_per_plan') }}
  where payments > 0
  group by organisation_id, currency
),

received as (
  select organisation_id, currency, sum(amount_cents) as cents, count(*) as payments
  from {{ ref('stg_core__service_plan_payments') }}
  group by organisation_id, currency
)

select organisation_id, currency, shown.cents as shown_cents, received.cents as received_cents
from shown
full join received using (organisation_id, currency)
where shown.cents is distinct from received.cents or shown.payments is distinct from received.payments
