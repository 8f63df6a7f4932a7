with versions as (
    {{ current_version('agreement_instalments') }}
),

final as (
    select
        agreement_instalment_id,
        agreement_id,
        due_date,
        amount,
        currency_code,
        paid_date,
        valid_from_date,
        valid_to_date,
        author_id,
        reason,
        _source
    from versions
)

select * from final
