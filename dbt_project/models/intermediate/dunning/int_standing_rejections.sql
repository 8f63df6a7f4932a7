with rejected_rows as (
    select * from {{ ref('stg_rejected_rows') }}
),

batches as (
    select * from {{ ref('stg_batches') }}
),

customers as (
    select * from {{ ref('stg_customers') }}
),

invoices as (
    select * from {{ ref('stg_invoices') }}
),

payments as (
    select * from {{ ref('stg_payments') }}
),

credits as (
    select * from {{ ref('stg_credits') }}
),

-- A whole set that came again, or the same file sent again, stands in place of what was refused before.
placed as (
    select
        *,
        max(_loaded_at) over (partition by _source, file_set, entity) as newest_of_set_at,
        max(_loaded_at) over (partition by _source, file_set, entity, _file) as newest_of_file_at
    from batches
),

unreplaced as (
    select
        rejected_rows.entity,
        rejected_rows.key_text,
        rejected_rows.invoice_key_text,
        rejected_rows._loaded_at
    from rejected_rows
    inner join placed
        on
            rejected_rows._batch_id = placed._batch_id
            and rejected_rows.entity = placed.entity
    where
        rejected_rows._loaded_at
        = case when placed.mode_code = 'snapshot' then placed.newest_of_set_at else placed.newest_of_file_at end
),

-- What was accepted under the same key later stands in place of it, too. In one load the two contradict each other.
standing as (
    select
        unreplaced.entity,
        unreplaced.key_text,
        unreplaced.invoice_key_text
    from unreplaced
    left join customers
        on
            unreplaced.entity = 'customers'
            and unreplaced.key_text = customers.customer_id
            and unreplaced._loaded_at < customers._loaded_at
    left join invoices
        on
            unreplaced.entity = 'invoices'
            and unreplaced.key_text = invoices.invoice_id
            and unreplaced._loaded_at < invoices._loaded_at
    left join payments
        on
            unreplaced.entity = 'payments'
            and unreplaced.key_text = payments.payment_id
            and unreplaced._loaded_at < payments._loaded_at
    left join credits
        on
            unreplaced.entity = 'credits'
            and unreplaced.key_text = credits.credit_id
            and unreplaced._loaded_at < credits._loaded_at
    where
        customers.customer_id is null
        and invoices.invoice_id is null
        and payments.payment_id is null
        and credits.credit_id is null
),

final as (
    select
        entity,
        case when entity = 'customers' then key_text end as customer_id,
        case
            when entity = 'invoices' then key_text
            when entity in ('payments', 'credits') then invoice_key_text
        end as invoice_id
    from standing
)

select * from final
