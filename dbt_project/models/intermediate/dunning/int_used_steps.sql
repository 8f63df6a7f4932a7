with decisions as (
    select * from {{ ref('int_used_decisions') }}
),

touches as (
    select * from {{ ref('stg_touches') }}
    where
        fate_code <> 'not_sent'
        and planned_date < {{ as_of() }}
),

invoices as (
    select
        invoice_id,
        cycle_date
    from {{ ref('int_dunning_invoices') }}
),

used as (
    select
        decisions.invoice_id,
        decisions.step_code,
        decisions.channel_code,
        decisions.as_of_date as used_date,
        decisions.outcome_code = 'eligible' as is_sent,
        false as is_bounced,
        decisions.offset_days
    from decisions
    inner join invoices
        on
            decisions.invoice_id = invoices.invoice_id
            and decisions.cycle_date = invoices.cycle_date
    union all
    select
        touches.invoice_id,
        touches.step_code,
        touches.channel_code,
        touches.planned_date as used_date,
        true as is_sent,
        touches.fate_code = 'bounced' as is_bounced,
        cast(null as integer) as offset_days
    from touches
    inner join invoices
        on
            touches.invoice_id = invoices.invoice_id
            and coalesce(touches.cycle_date, invoices.cycle_date) = invoices.cycle_date
),

final as (
    select
        invoice_id,
        step_code,
        channel_code,
        min(used_date) as used_date,
        max(case when is_sent then 1 else 0 end) = 1 as is_sent,
        max(case when is_bounced then 1 else 0 end) = 1 as is_bounced,
        max(offset_days) as offset_days
    from used
    group by invoice_id, step_code, channel_code
)

select * from final
