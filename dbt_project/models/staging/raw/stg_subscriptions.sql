with versions as (
    {{ current_version('subscriptions') }}
),

final as (
    select
        subscription_id,
        customer_id,
        plan_code,
        seller_code,
        status_code,
        start_date,
        end_date,
        monthly_amount,
        currency_code,
        is_prepaid,
        has_suspension_clause,
        _source
    from versions
)

select * from final
