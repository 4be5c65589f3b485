"""Decisions on versions: promoted, kept, rejected, pinned; each with an author, a reason and its figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from models_store.errors import BadInputError, UnknownNameError
from models_store.history import AliasMove
from models_store.registry import CHAMPION, Reference, Registry
from trainer.jobs.outcomes import Decision, Kind, Outcome, what_to_do
from trainer.jobs.policy import Policy, policy_of
from trainer.labels.errors import ConflictError
from trainer.labels.store import LabelStore, check_who, dataset_row, now
from trainer.labels.tables import DatasetRow, DecisionRow, JobRow

LISTED = 200


class Decisions:
    """Moves champions and keeps the record; no two of its callers do so at once.

    Args:
        store: Where decisions are kept.
        registry: Whose aliases move.
    """

    def __init__(self, store: LabelStore, registry: Registry):
        self._store, self._registry = store, registry

    def newest(self, dataset: str, limit: int = LISTED) -> list[Decision]:
        """Decisions on a dataset's versions, newest first.

        Raises:
            UnknownLabelsError: There is no such dataset.
        """
        with self._store.database.reading() as session:
            row = dataset_row(session, dataset)
            wanted = select(DecisionRow).where(DecisionRow.dataset_id == row.id)
            rows = session.scalars(wanted.order_by(DecisionRow.id.desc()).limit(limit))
            return [_decision(each) for each in rows]

    def of_job(self, job: str) -> Decision | None:
        """The decision on a job's candidate."""
        with self._store.database.reading() as session:
            wanted = select(DecisionRow).where(DecisionRow.job_id == job).order_by(DecisionRow.id.desc())
            row = session.scalars(wanted.limit(1)).one_or_none()
            return None if row is None else _decision(row)

    def promote(self, reference: Reference, *, by: str, reason: str) -> Decision:
        """Make a version champion, by a person's word.

        Raises:
            UnknownNameError: There is no such version.
            ConflictError: Another is pinned, or it is the champion.
            DamagedError: It does not verify.
        """
        check_signed(by, reason)
        self._registry.folder(reference)
        self._known(reference.dataset, by)

        def move() -> AliasMove:
            if self._champion(reference.dataset) == reference.version:
                raise ConflictError(f"{reference} is the champion already")
            return self._registry.move_alias(reference, CHAMPION, author=by, reason=reason)

        _, decision = self.record_move(
            reference.dataset, move, to=reference.version, kind=Kind.PROMOTED, by=by, reason=reason
        )
        return decision

    def record_move(
        self,
        dataset: str,
        move: Callable[[], AliasMove],
        *,
        to: str | None,
        kind: Kind,
        by: str,
        reason: str,
    ) -> tuple[AliasMove, Decision]:
        """Move the champion and put that on record, while nobody else decides.

        Args:
            dataset: Whose champion.
            move: Moves it.
            to: The version it will mean, where that is known before.
            kind: How the record calls it.
            by: Who.
            reason: Why.

        Raises:
            UnknownLabelsError: There is no such dataset.
            ConflictError: Another version is pinned.
        """
        check_signed(by, reason)
        with self._store.database.writing() as session:
            row = dataset_row(session, dataset, lock=True)
            check_pin(row, to)
            moved = move()
            return moved, _keep(session, row, kind, moved.version, moved.previous, by, reason)

    def reject(self, reference: Reference, *, by: str, reason: str) -> Decision:
        """Put on record that a version is not to be used.

        Raises:
            UnknownNameError: There is no such version.
            ConflictError: It is the champion.
        """
        check_signed(by, reason)
        self._registry.folder(reference)
        self._known(reference.dataset, by)
        with self._store.database.writing() as session:
            row = dataset_row(session, reference.dataset, lock=True)
            in_use = self._champion(reference.dataset)
            if in_use == reference.version:
                raise ConflictError(f"{reference} is the champion; promote another or roll back first")
            return _keep(session, row, Kind.REJECTED, reference.version, in_use, by, reason)

    def pin(self, dataset: str, *, by: str, reason: str) -> Decision:
        """Let nobody replace the champion, no job and no person.

        Raises:
            UnknownNameError: There is no such dataset with a version, or it has no champion.
        """
        check_signed(by, reason)
        in_use = self._champion(dataset)
        if in_use is None:
            raise UnknownNameError(f"dataset {dataset!r} has no champion to pin")
        self._known(dataset, by)
        with self._store.database.writing() as session:
            row = dataset_row(session, dataset, lock=True)
            in_use = self._champion(dataset)
            row.pinned = in_use
            return _keep(session, row, Kind.PINNED, in_use, in_use, by, reason)

    def unpin(self, dataset: str, *, by: str, reason: str) -> Decision:
        """Let the champion be replaced again.

        Raises:
            UnknownLabelsError: There is no such dataset.
            ConflictError: It is not pinned.
        """
        check_signed(by, reason)
        with self._store.database.writing() as session:
            row = dataset_row(session, dataset, lock=True)
            if row.pinned is None:
                raise ConflictError(f"{dataset} is not pinned")
            version, row.pinned = row.pinned, None
            in_use = self._champion(dataset) if self._registry.has(dataset) else None
            return _keep(session, row, Kind.UNPINNED, version, in_use, by, reason)

    def set_policy(self, dataset: str, policy: Policy, *, by: str, reason: str) -> None:
        """Give a dataset another policy; jobs that begin from then on follow it.

        Raises:
            UnknownLabelsError: There is no such dataset.
        """
        check_signed(by, reason)
        values = policy.model_dump(mode="json", exclude_defaults=True)
        with self._store.database.writing() as session:
            row = dataset_row(session, dataset, lock=True)
            changed = {"before": row.policy, "after": values}
            row.policy = values
            in_use = self._champion(dataset) if self._registry.has(dataset) else None
            _keep(session, row, Kind.POLICY, None, in_use, by, reason, figures=changed)

    def policy(self, dataset: str) -> Policy:
        """A dataset's policy.

        Raises:
            UnknownLabelsError: There is no such dataset.
        """
        with self._store.database.reading() as session:
            return policy_of(dataset_row(session, dataset).policy)

    def conclude(self, session: Session, job: JobRow, outcome: Outcome) -> Decision:
        """Carry out what the gate says of a job's candidate, in the session that ends the job.

        The alias moves before the session is kept: a job that dies between the two finds itself champion
        when it goes on, and puts that on record.
        """
        row = session.scalars(
            select(DatasetRow).where(DatasetRow.id == job.dataset_id).with_for_update()
        ).one()
        candidate, in_use = outcome.candidate, self._champion(outcome.candidate.dataset)
        kind, reason = what_to_do(outcome, in_use, row.pinned)
        author = f"job {job.id}"
        if kind is Kind.PROMOTED and in_use != candidate.version:
            self._registry.move_alias(candidate, CHAMPION, author=author, reason=f"gate: {reason}"[:500])
        return _keep(
            session,
            row,
            kind,
            candidate.version,
            outcome.champion,
            author,
            reason,
            figures=outcome.figures,
            report=outcome.report,
            job=job.id,
        )

    def _champion(self, dataset: str) -> str | None:
        return self._registry.aliases(dataset).get(CHAMPION)

    def _known(self, dataset: str, by: str) -> None:
        # Tuned from a folder alone, a dataset is none of the store's until something is decided on it.
        self._store.create(dataset, by=by)


def check_pin(row: DatasetRow, version: str | None) -> None:
    """Raise ConflictError if a dataset is pinned to another version than this one."""
    if row.pinned not in (None, version):
        raise ConflictError(
            f"{row.name} is pinned to {row.pinned}: unpin it before its champion is moved to another version"
        )


def check_signed(by: str, reason: str) -> None:
    """Raise BadInputError unless it is said who decides, and why."""
    check_who(by)
    if not reason.strip():
        raise BadInputError("the reason is empty; say why")


def _keep(
    session: Session,
    row: DatasetRow,
    kind: Kind,
    version: str | None,
    champion: str | None,
    author: str,
    reason: str,
    *,
    figures: Mapping[str, Any] | None = None,
    report: str | None = None,
    job: str | None = None,
) -> Decision:
    kept = DecisionRow(
        dataset_id=row.id,
        job_id=job,
        kind=kind,
        version=version,
        champion=champion,
        author=author,
        reason=reason,
        figures=dict(figures or {}),
        report=report,
        at=now(),
    )
    session.add(kept)
    session.flush()
    return _decision(kept)


def _decision(row: DecisionRow) -> Decision:
    return Decision(
        id=row.id,
        kind=Kind(row.kind),
        version=row.version,
        champion=row.champion,
        author=row.author,
        reason=row.reason,
        figures=row.figures,
        job=row.job_id,
        report=row.report,
        at=row.at,
    )
