"""How Airflow tasks give access back, prove a list, publish it, and ask a person where it is above its caps."""

from __future__ import annotations

import logging
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from regua.errors import InputError
from regua.instants import to_utc, utc_clock
from regua.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context

    from regua.suspension.publishing import Published

_log = logging.getLogger(__name__)


class RecordedApproval(ApprovalOperator):
    """A person's yes or no to what a proposal holds. A no is kept in the ledger too, with who said it and when."""

    template_fields = (*ApprovalOperator.template_fields, "proposal")

    def __init__(self, *, proposal: str, **options: Any) -> None:
        super().__init__(**options)
        self.proposal = proposal

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Raises as its base does: when refused, and when nobody answered in time."""
        if "error" not in event and self.REJECT in event["chosen_options"]:
            from regua.suspension.publishing import reject

            reject(load_settings(), int(self.proposal), utc_clock, author=_who(event["responded_by_user"]))
        return super().execute_complete(context, event)


def give_back_task() -> None:
    """Give access back to whom it is due; nothing may hold that up."""
    from regua.suspension.publishing import refresh

    try:
        _tell(refresh(load_settings(), utc_clock))
    except InputError as error:
        raise AirflowFailException(str(error)) from error


def prove_task(context: Context) -> int:
    """The number of the proposal of the published day; skips a past day, and one whose list was published."""
    from regua.dispatch.daily import require_today
    from regua.publish.serving import current_generation, read_serving_manifest
    from regua.suspension.proving import AlreadyPublishedError, prove

    settings = load_settings()
    if context["dag_run"].run_type == "backfill":
        raise AirflowFailException("A backfill publishes nothing: nobody's access changes by a day that is over.")
    day = date.fromisoformat(read_serving_manifest(current_generation(settings))["as_of"])
    try:
        require_today(settings, day, utc_clock)
    except InputError as error:
        raise AirflowSkipException(str(error)) from error
    try:
        proposal = prove(settings, day, utc_clock)
    except AlreadyPublishedError as error:
        raise AirflowSkipException(str(error)) from error
    except InputError as error:
        raise AirflowFailException(str(error)) from error
    _log.info("proposal %d of %s: %d held", proposal.number, day, proposal.held_count)
    return proposal.number


def publish_task(proposal: int) -> str:
    """Publish what was proved, but for what is above the caps. Hands on what a person has to read, or nothing."""
    from regua.ledger.database import open_ledger
    from regua.suspension.ledger_state import read_proposal
    from regua.suspension.publishing import publish

    settings = load_settings()
    try:
        published = publish(settings, proposal, utc_clock)
    except InputError as error:
        raise AirflowFailException(str(error)) from error
    _tell(published)
    if not published.held_count:
        return ""
    with open_ledger(settings) as engine, engine.connect() as connection:
        return read_proposal(connection, proposal).summary


def publish_approved_task(proposal: int, answer: Mapping[str, Any] | None) -> None:
    """Publish what somebody has approved; without that answer on record nothing is."""
    from regua.suspension.publishing import publish_approved

    if not answer or answer.get("chosen_options") != [ApprovalOperator.APPROVE]:
        raise AirflowFailException("Nobody has approved this list: a task that was marked a success is no approval.")
    responded_at = answer["responded_at"]
    decided = datetime.fromisoformat(responded_at) if isinstance(responded_at, str) else responded_at
    try:
        _tell(
            publish_approved(
                load_settings(),
                proposal,
                utc_clock,
                author=_who(answer["responded_by_user"]),
                decided_at=to_utc(decided) if decided.tzinfo else decided,
            )
        )
    except InputError as error:
        raise AirflowFailException(str(error)) from error


def hand_over_task() -> None:
    """Copy files to their targets and deliver webhooks; fails once for all that did not get there.

    And as long as a webhook stays given up: the product believes what is no longer so.
    """
    from regua.suspension.publishing import hand_over

    handed = hand_over(load_settings(), utc_clock)
    _log.info("%d copies; webhooks: %s", handed.copied_count, handed.deliveries)
    if handed.troubles:
        raise AirflowFailException("Not handed over: " + "; ".join(handed.troubles))
    if handed.given_up_count:
        raise AirflowFailException(
            f"{handed.given_up_count} webhooks were given up: `regua suspensions webhooks` lists them, --redeliver "
            "tries them again."
        )


def check_removals_task() -> None:
    """Fail while a debt that must be taken off the credit bureau is close to its last day, or past it."""
    from regua.suspension.bureau import removals_at_risk

    try:
        at_risk = removals_at_risk(load_settings(), utc_clock)
    except InputError as error:
        raise AirflowFailException(str(error)) from error
    if at_risk:
        raise AirflowFailException(
            "To be taken off the credit bureau, and confirmed with `regua suspensions removed`: "
            + "; ".join(f"invoice {one.candidate.invoice_id} by {one.remove_by_date}" for one in at_risk)
        )


def _tell(published: Published | None) -> None:
    if published is None:
        _log.info("nobody to give access back to")
        return
    _log.info(
        "sequence %d of %s: %d without access, %d suspended, %d given back, %d held",
        published.sequence,
        published.as_of,
        published.without_access_count,
        published.suspended_count,
        published.reactivated_count,
        published.held_count,
    )


def _who(user: Mapping[str, Any] | None) -> str:
    if not user:
        raise AirflowFailException("Airflow does not say who answered: nothing is published on nobody's word.")
    return str(user.get("name") or user["id"])[:200]
