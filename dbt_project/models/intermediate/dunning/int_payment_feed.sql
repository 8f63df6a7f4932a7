with batches as (
    select * from {{ ref('stg_batches') }}
    where entity = 'payments'
),

confirmations as (
    select * from {{ ref('stg_confirmations') }}
),

business_days as (
    select * from {{ ref('int_business_days') }}
    where calendar_code = 'br-bank'
),

heard as (
    select
        batches._source,
        batches._loaded_at as heard_at
    from batches
    union all
    -- The same content delivered again: nothing more is known, but the sender lives.
    select
        batches._source,
        confirmations.confirmed_at as heard_at
    from confirmations
    inner join batches
        on confirmations._batch_id = batches._batch_id
),

newest as (
    select
        _source,
        {{ local_date("max(heard_at)") }} as heard_date
    from heard
    group by _source
),

oldest as (
    select min(heard_date) as last_heard_date
    from newest
),

-- Without a feed, or outside the calendar, the age is not known; the reader takes that for too old.
final as (
    select
        oldest.last_heard_date,
        today.business_day_number - then_days.business_day_number as age_business_days
    from oldest
    left join business_days as then_days
        on oldest.last_heard_date = then_days.calendar_date
    left join business_days as today
        on today.calendar_date = {{ as_of() }}
)

select * from final
