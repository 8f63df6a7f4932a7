-- KPIs tell of every invoice, the ladder of the open ones: under which policy and segment one stands must not depend on
-- who is asked.
select
    ladder.invoice_id,
    ladder.policy_code,
    kpis.policy_code as kpi_policy_code,
    ladder.segment_code,
    kpis.segment_code as kpi_segment_code
from {{ ref('int_dunning_invoices') }} as ladder
left join {{ ref('int_kpi_invoices') }} as kpis
    on ladder.invoice_id = kpis.invoice_id
where
    ladder.policy_code is distinct from kpis.policy_code
    or coalesce(ladder.segment_code, 'none') is distinct from kpis.segment_code
    or ladder.contact_customer_id is distinct from kpis.customer_id
