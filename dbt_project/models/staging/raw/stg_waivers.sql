with versions as (
    {{ current_version('waivers') }}
),

final as (
    select
        waiver_id,
        customer_id,
        invoice_id,
        waived_pct,
        valid_from_date,
        valid_to_date,
        author_id,
        reason,
        _source
    from versions
)

select * from final
