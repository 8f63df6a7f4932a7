-- Failing means that the edges of seeds/aging_buckets.csv leave a gap or overlap: the row returned is the bucket that
-- does not begin the day after the one before it ends, or an outer edge that is closed.
with edges as (
    select
        aging_bucket_code,
        from_days,
        to_days,
        lag(to_days) over (order by sort_order) as previous_to_days,
        row_number() over (order by sort_order) as position_from_start,
        row_number() over (order by sort_order desc) as position_from_end
    from {{ ref('aging_buckets') }}
)

select *
from edges
where
    (position_from_start = 1 and from_days is not null)
    or (position_from_start > 1 and coalesce(from_days <> previous_to_days + 1, true))
    or (position_from_end = 1 and to_days is not null)
