with versions as (
    {{ current_version('touches') }}
),

final as (
    select
        touch_id,
        customer_id,
        invoice_id,
        step_code,
        channel_code,
        cycle_date,
        planned_date,
        fate_code,
        delivered_date,
        _source
    from versions
)

select * from final
