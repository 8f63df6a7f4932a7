with touches as (
    select * from {{ ref('stg_touches') }}
    where
        fate_code = 'delivered'
        and planned_date < {{ as_of() }}
),

invoices as (
    select * from {{ ref('int_dunning_invoices') }}
    where is_past_due
),

steps as (
    select
        version_hash,
        step_code,
        notice_code
    from {{ ref('stg_policy_steps') }}
),

-- A step that the version in force has no more was what it is anywhere else.
steps_anywhere as (
    select distinct
        step_code,
        notice_code
    from steps
    where notice_code is not null
),

delivered as (
    select
        touches.invoice_id,
        touches.touch_id,
        coalesce(touches.delivered_date, touches.planned_date) as delivered_date,
        case when steps.step_code is null then steps_anywhere.notice_code else steps.notice_code end as notice_code
    from touches
    inner join invoices
        on
            touches.invoice_id = invoices.invoice_id
            and coalesce(touches.cycle_date, invoices.cycle_date) = invoices.cycle_date
    left join steps
        on
            invoices.version_hash = steps.version_hash
            and touches.step_code = steps.step_code
    left join steps_anywhere
        on touches.step_code = steps_anywhere.step_code
),

ranked as (
    select
        *,
        row_number() over (partition by invoice_id, notice_code order by delivered_date, touch_id) as place
    from delivered
    where notice_code is not null
),

final as (
    select
        invoice_id,
        notice_code,
        touch_id as notice_id,
        delivered_date
    from ranked
    where place = 1
)

select * from final
