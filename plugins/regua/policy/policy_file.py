"""include/policies/NAME.yml: one régua, as its owner writes it. docs/how-to/policies.md explains every field.

Legal limits (charges, windows, notices, prescription) have no default here: each file states its own, with the source.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    field_validator,
    model_validator,
)

from regua.contract.entities import FIRST_DATE, ID_PATTERN, LAST_DATE, load_contract
from regua.yaml_file import PlacedError

Fault = tuple[tuple[str | int, ...], str]

CODE_PATTERN = "[a-z][a-z0-9_]{0,39}"
# Debtors whose state is not known, and those of states without a window of their own.
OTHER_STATES = "other"
STATE_CODES = load_contract()["customers"].column("state_code").values
_HOURS_PATTERN = r"([0-9]{1,2})(?::([0-9]{2}))?-([0-9]{1,2})(?::([0-9]{2}))?"
_MINUTES_OF_A_DAY = 24 * 60

Channel = Literal["email", "sms", "whatsapp", "letter", "call"]
Phase = Literal["preventive", "friendly", "intensified", "renegotiation", "severe"]
Notice = Literal["suspension", "credit_bureau"]
PHASES: tuple[str, ...] = get_args(Phase)


def _exact(written: object) -> Decimal:
    # YAML gives 2.50 as a binary number; its shortest text is what was written, up to 15 digits. No field takes more.
    if isinstance(written, bool) or not isinstance(written, (int, float, str, Decimal)):
        raise ValueError("write a number, like 12.50")
    return Decimal(str(written)) if not isinstance(written, str) else Decimal(_plain_number(written))


def _plain_number(written: str) -> str:
    if not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", written):
        raise ValueError(f"{written!r} is no number; write it like 1234.50, with a point and nothing between thousands")
    return written


def _cents(number: Decimal) -> Decimal:
    """One way of writing for one number, so that 2 and 2.00 are the same policy."""
    return number.quantize(Decimal("0.01"))


def _day(written: object) -> object:
    if not isinstance(written, (date, str)):
        raise ValueError("write a day as YYYY-MM-DD")
    return written


def _known_day(day: date) -> date:
    if not date.fromisoformat(FIRST_DATE) <= day <= date.fromisoformat(LAST_DATE):
        raise ValueError(f"{day} is outside {FIRST_DATE} to {LAST_DATE}, the days the bank calendar knows")
    return day


def _contract_code(column: str, entity: str) -> tuple[Callable[[str], str], tuple[str, ...]]:
    values = load_contract()[entity].column(column).values

    def check(code: str) -> str:
        if code not in values:
            raise ValueError(f"{code!r} is none of {', '.join(values)}")
        return code

    return check, values


def _as_set(codes: list[str]) -> list[str]:
    if repeated := _repeated(codes):
        raise ValueError(f"{', '.join(repeated)}: written twice")
    return sorted(codes)


def _repeated(values: Sequence[str]) -> list[str]:
    return sorted({value for value in values if values.count(value) > 1})


def _hours(written: object) -> str:
    match = re.fullmatch(_HOURS_PATTERN, written.strip()) if isinstance(written, str) else None
    if match is None:
        raise ValueError("write hours as 8-20 or 8:30-18:00")
    opens_hour, opens_minute, closes_hour, closes_minute = (int(part or 0) for part in match.groups())
    opens, closes = opens_hour * 60 + opens_minute, closes_hour * 60 + closes_minute
    if max(opens_minute, closes_minute) >= 60 or max(opens, closes) > _MINUTES_OF_A_DAY:
        raise ValueError(f"{written} is no time of a day; it goes from 0 to 24")
    if opens >= closes:
        raise ValueError(f"{written} closes before it opens")
    return f"{opens_hour:02}:{opens_minute:02}-{closes_hour:02}:{closes_minute:02}"


def minutes_of(hours: str) -> tuple[int, int]:
    """Opening and closing in minutes after local midnight."""
    opens, closes = (int(clock[:2]) * 60 + int(clock[3:]) for clock in hours.split("-"))
    return opens, closes


_check_person_type, _PERSON_TYPES = _contract_code("person_type_code", "customers")
_check_payment_method, _PAYMENT_METHODS = _contract_code("payment_method_code", "invoices")

# To an editor they are plain numbers; here they are never floating ones.
Money = Annotated[
    Decimal,
    Field(ge=0, max_digits=13, decimal_places=2),
    BeforeValidator(_exact, json_schema_input_type=Annotated[float, Field(ge=0)]),
    AfterValidator(_cents),
]
Percentage = Annotated[
    Decimal,
    Field(ge=0, le=100, max_digits=5, decimal_places=2),
    BeforeValidator(_exact, json_schema_input_type=Annotated[float, Field(ge=0, le=100)]),
    AfterValidator(_cents),
]
Count = Annotated[StrictInt, Field(ge=0, le=10_000)]
Code = Annotated[str, Field(pattern=f"^{CODE_PATTERN}$")]
SegmentCode = Annotated[str, Field(pattern=f"^{ID_PATTERN}$")]
PersonType = Annotated[str, AfterValidator(_check_person_type), Field(json_schema_extra={"enum": [*_PERSON_TYPES]})]
PaymentMethod = Annotated[
    str, AfterValidator(_check_payment_method), Field(json_schema_extra={"enum": [*_PAYMENT_METHODS]})
]
Day = Annotated[date, BeforeValidator(_day, json_schema_input_type=date), AfterValidator(_known_day)]
Hours = Annotated[
    str,
    BeforeValidator(_hours, json_schema_input_type=Annotated[str, Field(pattern=f"^{_HOURS_PATTERN}$")]),
]
Segments = Annotated[list[SegmentCode], AfterValidator(_as_set)]
PersonTypes = Annotated[list[PersonType], AfterValidator(_as_set)]
PaymentMethods = Annotated[list[PaymentMethod], AfterValidator(_as_set)]


class _Written(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AppliesTo(_Written):
    """Customers a policy is for. Where both lists are written, a customer must be in both."""

    segments: Segments = Field(default=[], description="Segment codes; empty means any segment.")
    person_types: PersonTypes = Field(default=[], description="individual or company; empty means either.")

    @model_validator(mode="after")
    def _names_somebody(self) -> AppliesTo:
        if not self.segments and not self.person_types:
            raise ValueError(
                "name segments or person_types; without applies_to only those that name the policy have it"
            )
        return self

    def overlaps(self, other: AppliesTo) -> bool:
        """Whether some customer could be in both."""
        return all(
            not ours or not theirs or set(ours) & set(theirs)
            for ours, theirs in ((self.segments, other.segments), (self.person_types, other.person_types))
        )


class LateCharges(_Written):
    """Encargos on the open principal of an invoice that is overdue."""

    fine_pct: Percentage = Field(description="Fine (multa), once, in per cent of the open principal.")
    monthly_interest_pct: Percentage = Field(
        description="Simple interest (juros de mora) a month; a thirtieth of it for each day past the due date."
    )
    consumer_fine_cap_pct: Percentage = Field(description="Highest fine for an individual (CDC art. 52 §1).")


class Limits(_Written):
    """How often a customer may be contacted. Whatever goes out to one customer on one day is one contact."""

    messages_per_channel_and_day: Annotated[StrictInt, Field(ge=1)] = Field(
        default=1, description="Messages through one channel on one day."
    )
    contacts_per_week: Annotated[StrictInt, Field(ge=1)] = Field(
        default=3, description="Days with a contact in any seven days in a row."
    )
    days_between_contacts: Count = Field(
        default=2, description="Days from one contact to the next: 2 means not on the day after."
    )


class StepLimits(_Written):
    """Limits of the version that are different for this step."""

    messages_per_channel_and_day: Annotated[StrictInt, Field(ge=1)] | None = Field(
        default=None, description="In place of the version's."
    )
    contacts_per_week: Annotated[StrictInt, Field(ge=1)] | None = Field(
        default=None, description="In place of the version's."
    )
    days_between_contacts: Count | None = Field(default=None, description="In place of the version's.")


class Thresholds(_Written):
    """Days past due *above* which a customer's status changes; without a number it never does."""

    banner_after_days: Count | None = Field(default=None, description="A banner is shown at login.")
    suspend_after_days: Count | None = Field(
        default=None,
        description="Access is suspended, once the delivered suspension notice is old enough and the grace is over.",
    )
    suspension_grace_business_days: Count = Field(
        default=1,
        description="Business days between suspend_after_days and the suspension, so that payments can be seen.",
    )
    suspension_notice_age_days: Count = Field(
        default=5, description="How old the delivered suspension notice must be before access is suspended."
    )
    cancel_after_days: Count | None = Field(default=None, description="Cancellation is proposed.")
    bureau_after_days: Count | None = Field(
        default=None, description="The debt goes on the credit bureau list, if the prior notice was delivered."
    )
    notice_age_days: Count | None = Field(
        default=None, description="How old the delivered prior notice must be; needed with bureau_after_days."
    )

    @model_validator(mode="after")
    def _ladder_rises(self) -> Thresholds:
        faults: list[Fault] = []
        rungs = ("banner_after_days", "suspend_after_days")
        for ladder in ((*rungs, "cancel_after_days"), (*rungs, "bureau_after_days")):
            given = [(name, days) for name in ladder if (days := getattr(self, name)) is not None]
            for (lower, lower_days), (upper, upper_days) in pairwise(given):
                fault: Fault = ((upper,), f"{upper_days} is before {lower} ({lower_days})")
                if upper_days < lower_days and fault not in faults:
                    faults.append(fault)
        if self.bureau_after_days is not None and self.notice_age_days is None:
            faults.append((("notice_age_days",), "bureau_after_days needs the age its prior notice must have"))
        if faults:
            raise PlacedError(faults)
        return self


class Clearing(_Written):
    """How long a payment that was made may take to be seen; until then the invoice is in clearing."""

    boleto_business_days: Count = Field(default=1, description="Business days until a paid boleto is known.")
    pix_automatico_days: Count = Field(
        default=7, description="Days after the due date in which a Pix Automático is tried again."
    )


class Week(_Written):
    """Hours of the debtor's local day, as 8-20 or 8:30-18:00; a day without hours is closed."""

    business_day: Hours | None = Field(default=None, description="Monday to Friday, bank holidays left out.")
    saturday: Hours | None = Field(default=None, description="Saturdays that are no holiday.")
    sunday: Hours | None = Field(default=None, description="Sundays that are no holiday.")
    holiday: Hours | None = Field(default=None, description="Bank holidays, on whatever weekday.")


class Offer(_Written):
    """What the renegotiation phase may offer."""

    segments: Segments = Field(
        default=[], description="Segments it is made to; empty means all that no other offer names."
    )
    instalments: Annotated[StrictInt, Field(ge=1, le=120)] = Field(description="Most instalments; 1 means none.")
    discount_pct: Percentage = Field(description="Discount for paying everything at once, in per cent of the total.")


class Conditions(_Written):
    """What must hold for a step to be meant for an invoice. A condition on a fact nobody knows does not hold."""

    minimum_amount: Money | None = Field(default=None, description="Open amount of the invoice, at least.")
    maximum_amount: Money | None = Field(default=None, description="Open amount of the invoice, at most.")
    segments: Segments = Field(default=[], description="The customer's segment; empty means any.")
    person_types: PersonTypes = Field(default=[], description="individual or company; empty means either.")
    minimum_late_count: Count | None = Field(
        default=None, description="Invoices the customer has paid late, at least: 1 asks for a record of paying late."
    )
    maximum_late_count: Count | None = Field(default=None, description="The same, at most: 0 asks for a clean record.")
    minimum_score: Percentage | None = Field(
        default=None, description="The customer's propensity to pay in time, 0 to 100, at least."
    )
    maximum_score: Percentage | None = Field(default=None, description="The same, at most.")
    payment_methods: PaymentMethods = Field(
        default=[], description="How the invoice is meant to be paid; empty means any."
    )
    minimum_open_invoices: Count | None = Field(
        default=None, description="Open invoices of the customer, due or not, at least."
    )
    maximum_open_invoices: Count | None = Field(default=None, description="The same, at most.")
    has_suspension_clause: StrictBool | None = Field(
        default=None, description="What the invoice's contract says of suspending the service."
    )

    @model_validator(mode="after")
    def _ranges_hold_something(self) -> Conditions:
        faults: list[Fault] = []
        for name in ("amount", "late_count", "score", "open_invoices"):
            low, high = getattr(self, f"minimum_{name}"), getattr(self, f"maximum_{name}")
            if low is not None and high is not None and low > high:
                faults.append(((f"maximum_{name}",), f"{high} is below minimum_{name} ({low}): nothing would ever fit"))
        if faults:
            raise PlacedError(faults)
        return self

    @property
    def is_empty(self) -> bool:
        return self == Conditions()


class Variant(_Written):
    """Another wording for a stable share of customers."""

    code: Code = Field(description="Name of the variant, unlike the others of its step.")
    share_pct: Annotated[Percentage, Field(gt=0)] = Field(
        description="Share of the step's customers; who is in none gets the step's own template."
    )
    template: Code = Field(description="Template used in place of the step's.")


class Step(_Written):
    """One rung: on the day it is reached, one message through one channel."""

    code: Code = Field(description="Its name for ever: what was sent under it is not sent again under a later version.")
    offset_days: Annotated[StrictInt, Field(ge=-60, le=1825)] = Field(
        description="Days from the due date; negative before it."
    )
    channel: Channel = Field(description="How the customer is reached; a call is an entry of the day's call list.")
    phase: Phase = Field(description="Tone of the step; only preventive stands on or before the due date.")
    template: Code = Field(description="Message of include/templates/CHANNEL.")
    notice: Notice | None = Field(
        default=None,
        description="Legal notice that the step gives; never held out, and what it announces waits for it.",
    )
    fallback_for: Channel | None = Field(
        default=None, description="Goes out only where the same day's step of that channel cannot be delivered."
    )
    conditions: Conditions = Field(default=Conditions(), description="All must hold; without any it is for everybody.")
    limits: StepLimits = Field(default=StepLimits(), description="Limits of the version that are different here.")
    holdout_pct: Annotated[Percentage, Field(lt=100)] = Field(
        default=Decimal("0.00"), description="Stable share of customers who do not get it, to measure what it brings."
    )
    variants: list[Variant] = Field(default=[], description="Other wordings for stable shares of its customers.")

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Step:
        faults = [*self._faults()]
        if faults:
            raise PlacedError(faults)
        return self

    def _faults(self) -> Iterator[Fault]:
        if self.phase == "preventive" and self.offset_days > 0:
            yield ("phase",), f"{self.code} is preventive and {self.offset_days} days after the due date"
        if self.phase != "preventive" and self.offset_days <= 0:
            yield (
                ("phase",),
                f"{self.code} is {self.phase} before anything is overdue; on day 0 and before, only preventive is",
            )
        if self.notice is not None and self.holdout_pct > 0:
            yield ("holdout_pct",), f"{self.code} is a legal notice; nobody may be held out from it"
        if self.notice is not None and self.channel == "call":
            yield ("notice",), f"{self.code}: the delivery of a notice must be proved, and a call leaves no proof"
        if self.fallback_for == self.channel:
            yield ("fallback_for",), f"{self.code} would stand in for its own channel"
        if repeated := _repeated([variant.code for variant in self.variants]):
            yield ("variants",), f"{', '.join(repeated)}: two variants of one name"
        if (total := sum(variant.share_pct for variant in self.variants)) > 100:
            yield ("variants",), f"the shares of the variants add up to {total} %"


class Version(_Written):
    """The whole régua as it holds from a day on, until the next version's day."""

    effective_from: Day | None = Field(
        default=None, description="First day it holds. The first version may leave it out: it has always held."
    )
    applies_to: AppliesTo | None = Field(
        default=None, description="Customers it is for; without it, only customers and invoices that name the policy."
    )
    tolerance_amount: Money = Field(
        default=Decimal("0.00"), description="Open amounts up to this are not worth a contact (below_tolerance)."
    )
    late_charges: LateCharges = Field(description="Fine and interest.")
    limits: Limits = Field(default=Limits(), description="How often a customer may be contacted.")
    thresholds: Thresholds = Field(description="When a customer's status changes.")
    clearing: Clearing = Field(default=Clearing(), description="How late payments may be seen.")
    prescription_years: Annotated[StrictInt, Field(ge=1, le=20)] = Field(
        description="Years after the due date from which on nothing is collected."
    )
    feed_max_age_days: Count = Field(
        default=1, description="Age of the payment feed above which only preventive steps go out."
    )
    contact_windows: dict[str, Week] = Field(
        description="When calls, SMS and WhatsApp may go out, by the debtor's state, and `other` for all the rest.",
        json_schema_extra={"propertyNames": {"enum": [*STATE_CODES, OTHER_STATES]}, "required": [OTHER_STATES]},
    )
    email_window: Week | None = Field(
        default=None, description="When e-mails may go out; without it, within the widest hours of contact_windows."
    )
    whatsapp_after_due: StrictBool = Field(
        default=False,
        description="Allows WhatsApp steps after the due date, for which the provider's rules are strict.",
    )
    offers: list[Offer] = Field(default=[], description="What the renegotiation phase may offer.")
    steps: list[Step] = Field(min_length=1, description="The ladder, in the order of its days.")

    @field_validator("contact_windows")
    @classmethod
    def _states_exist(cls, windows: dict[str, Week]) -> dict[str, Week]:
        if unknown := [state for state in windows if state not in STATE_CODES and state != OTHER_STATES]:
            raise ValueError(f"{', '.join(unknown)}: no state (UF); write SP, RJ … or {OTHER_STATES}")
        if OTHER_STATES not in windows:
            raise ValueError(f"needs {OTHER_STATES}, for debtors of the states not listed and of none that is known")
        return windows

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Version:
        checks = (
            self._charges,
            self._clearing,
            self._offers,
            self._order,
            self._fallbacks,
            self._notices,
            self._whatsapp,
        )
        faults = [fault for check in (*checks, self._limits_leave_room) for fault in check()]
        if faults:
            raise PlacedError(faults)
        return self

    def _charges(self) -> Iterator[Fault]:
        charges = self.late_charges
        only_individuals = self.applies_to is not None and self.applies_to.person_types == ["individual"]
        if only_individuals and charges.fine_pct > charges.consumer_fine_cap_pct:
            yield (
                ("late_charges", "fine_pct"),
                f"{charges.fine_pct} % is above what individuals may be charged, {charges.consumer_fine_cap_pct} %",
            )

    def _clearing(self) -> Iterator[Fault]:
        grace, clearing = self.thresholds.suspension_grace_business_days, self.clearing.boleto_business_days
        if self.thresholds.suspend_after_days is not None and grace < clearing:
            yield (
                ("thresholds", "suspension_grace_business_days"),
                f"{grace} ends before a boleto paid on the last day is seen, {clearing} business days later",
            )

    def _offers(self) -> Iterator[Fault]:
        claimed: dict[str | None, int] = {}
        for index, offer in enumerate(self.offers):
            for segment in _or_rest(offer.segments):
                if segment in claimed:
                    whom = "everybody else" if segment is None else f"segment {segment}"
                    yield ("offers", index), f"offers.{claimed[segment]} is already made to {whom}"
                claimed.setdefault(segment, index)
        if not self.offers:
            for index, step in enumerate(self.steps):
                if step.phase == "renegotiation":
                    yield ("steps", index, "phase"), f"{step.code} is a renegotiation, and the version has no offers"

    def _order(self) -> Iterator[Fault]:
        codes = [step.code for step in self.steps]
        for index, step in enumerate(self.steps):
            if step.code in codes[:index]:
                yield ("steps", index, "code"), f"{step.code} is the code of another step already"
        for index, (lower, upper) in enumerate(pairwise(self.steps), start=1):
            if upper.offset_days < lower.offset_days:
                yield (
                    ("steps", index, "offset_days"),
                    f"{upper.code} ({upper.offset_days:+}) comes after {lower.code} ({lower.offset_days:+}); "
                    "write the steps in the order of their days",
                )
            elif PHASES.index(upper.phase) < PHASES.index(lower.phase):
                yield (
                    ("steps", index, "phase"),
                    f"{upper.code} is {upper.phase} after {lower.code}, which is {lower.phase} already",
                )

    def _fallbacks(self) -> Iterator[Fault]:
        for index, step in enumerate(self.steps):
            if step.fallback_for is None or step.fallback_for == step.channel:
                continue
            replaced = [
                other
                for other in self.steps
                if (other.offset_days, other.channel) == (step.offset_days, step.fallback_for)
            ]
            if not replaced:
                yield (
                    ("steps", index, "fallback_for"),
                    f"{step.code} stands in for {step.fallback_for}, which has no step on day {step.offset_days:+}",
                )
            elif all(other.notice != step.notice for other in replaced):
                yield (
                    ("steps", index, "notice"),
                    f"{step.code} stands in for {replaced[0].code} and must give the same notice",
                )

    def _notices(self) -> Iterator[Fault]:
        days = self.thresholds
        suspension = [step.offset_days for step in self.steps if step.notice == "suspension"]
        bureau = [step.offset_days for step in self.steps if step.notice == "credit_bureau"]
        if (
            days.suspend_after_days is not None
            and min(suspension, default=days.suspend_after_days) >= days.suspend_after_days
        ):
            yield (
                ("thresholds", "suspend_after_days"),
                f"no step with `notice: suspension` comes before day {days.suspend_after_days:+}",
            )
        if days.bureau_after_days is not None and days.notice_age_days is not None:
            latest = days.bureau_after_days - days.notice_age_days
            if min(bureau, default=latest + 1) > latest:
                yield (
                    ("thresholds", "bureau_after_days"),
                    f"no step with `notice: credit_bureau` is {days.notice_age_days} days old by then; the latest day "
                    f"for it is {latest:+}",
                )
        for index, step in enumerate(self.steps):
            threshold = {"suspension": "suspend_after_days", "credit_bureau": "bureau_after_days"}.get(
                step.notice or ""
            )
            if threshold is not None and getattr(days, threshold) is None:
                # A threat that is never carried out (CDC art. 42).
                yield (
                    ("steps", index, "notice"),
                    f"{step.code} announces what never happens: thresholds has no {threshold}",
                )
            if step.phase == "severe" and suspension and step.offset_days < max(suspension):
                yield (
                    ("steps", index, "phase"),
                    f"{step.code} is severe on day {step.offset_days:+}; the suspension notice goes out only on day "
                    f"{max(suspension):+}",
                )

    def _whatsapp(self) -> Iterator[Fault]:
        for index, step in enumerate(self.steps):
            if step.channel == "whatsapp" and step.offset_days > 0 and not self.whatsapp_after_due:
                yield (
                    ("steps", index, "channel"),
                    f"{step.code} goes out by WhatsApp after the due date; `whatsapp_after_due: true` allows that",
                )

    def _limits_leave_room(self) -> Iterator[Fault]:
        """A step for everybody that its own limits always hold back would be a promise the policy cannot keep."""
        days = sorted({step.offset_days for step in self.steps if _is_for_everybody(step)})
        for index, step in enumerate(self.steps):
            if not _is_for_everybody(step):
                continue
            limits = self.limits_of(step)
            before = [day for day in days if day < step.offset_days]
            gap = step.offset_days - before[-1] if before else limits.days_between_contacts
            if gap < limits.days_between_contacts:
                yield (
                    ("steps", index, "offset_days"),
                    f"{step.code} never goes out: day {before[-1]:+} is {gap} before and days_between_contacts is "
                    f"{limits.days_between_contacts}; move it or give it `limits` of its own",
                )
            contacts = 1 + sum(day > step.offset_days - 7 for day in before)
            if contacts > limits.contacts_per_week:
                yield (
                    ("steps", index, "offset_days"),
                    f"{step.code} never goes out: it is contact {contacts} in a week and contacts_per_week is "
                    f"{limits.contacts_per_week}; move it or give it `limits` of its own",
                )

    def limits_of(self, step: Step) -> Limits:
        """The limits that hold for a step."""
        return Limits(**self.limits.model_dump() | step.limits.model_dump(exclude_none=True))

    def week_of(self, channel: str, state_code: str) -> Week:
        """When a channel may be used in a state (or `other`). The post has no hours."""
        if channel == "letter":
            return Week(**dict.fromkeys(Week.model_fields, "0-24"))
        if channel == "email":
            return self.email_window or widest_week(self.contact_windows)
        return self.contact_windows.get(state_code, self.contact_windows[OTHER_STATES])


def _or_rest(segments: list[str]) -> list[str | None]:
    return [*segments] or [None]


def _is_for_everybody(step: Step) -> bool:
    return step.conditions.is_empty and step.fallback_for is None


def widest_week(windows: Mapping[str, Week]) -> Week:
    """From the earliest opening to the latest closing of each day."""
    widest = {}
    for name in Week.model_fields:
        hours = [getattr(week, name).split("-") for week in windows.values() if getattr(week, name) is not None]
        if hours:
            widest[name] = f"{min(opens for opens, _ in hours)}-{max(closes for _, closes in hours)}"
    return Week(**widest)


class PolicyFile(_Written):
    """One policy, called by the name of its file."""

    description: Annotated[str, Field(min_length=1)] = Field(
        description="One sentence: whom it is for and what it does."
    )
    default: StrictBool = Field(
        default=False, description="True for exactly one policy: for whomever no other one is meant."
    )
    versions: list[Version] = Field(min_length=1, description="What holds from which day, the oldest first.")

    @model_validator(mode="after")
    def _versions_follow(self) -> PolicyFile:
        faults: list[Fault] = []
        for index, (older, newer) in enumerate(pairwise(self.versions), start=1):
            if newer.effective_from is None:
                faults.append((("versions", index), "effective_from is missing; only the first version can do without"))
            elif older.effective_from is not None and newer.effective_from <= older.effective_from:
                faults.append(
                    (
                        ("versions", index, "effective_from"),
                        f"{newer.effective_from} is not after {older.effective_from}, the day of the version before it",
                    )
                )
        if self.default:
            if self.versions[0].effective_from is not None:
                faults.append(
                    (
                        ("versions", 0, "effective_from"),
                        "the default policy has always held; leave this out of its first version",
                    )
                )
            faults += [
                (("versions", index, "applies_to"), "the default policy is for all whom no other one names")
                for index, version in enumerate(self.versions)
                if version.applies_to is not None
            ]
        if faults:
            raise PlacedError(faults)
        return self
