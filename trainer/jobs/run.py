"""One job from labels to a decision: freeze, lay out, tune, judge, report, promote or not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from models_store.checkpoints import read_config
from models_store.errors import BadInputError
from models_store.registry import CANDIDATE, CHAMPION, Reference, Registry
from models_store.vlsm import FrozenVLSM
from trainer.auto.strategies import strategies_to_try
from trainer.feature_cache import CacheBudget
from trainer.gate.gate import Judged
from trainer.gate.record import GateRecord
from trainer.gate.store import read_gate, write_gate
from trainer.gate.versions import Versions, judge_versions, read_versions
from trainer.jobs.decisions import Decisions
from trainer.jobs.desk import Desk
from trainer.jobs.outcomes import Kind, Outcome
from trainer.jobs.policy import NONE, Policy, policy_of
from trainer.jobs.rows import succeed
from trainer.jobs.states import Job, Stage
from trainer.jobs.warm import champion_to_start_from
from trainer.jobs.watching import told_to, watch_for
from trainer.labels.new import Split
from trainer.labels.revisions import freeze, lay_out, manifest
from trainer.labels.rows import Row
from trainer.labels.store import LabelStore, dataset_row
from trainer.labels.tables import RevisionRow
from trainer.reports.candidate import candidate_files
from trainer.reports.candidate_versions import versions_report
from trainer.reports.write import HTML
from trainer.tune import tune
from trainer.tuning.settings import TuneSettings

REVISIONS = "revisions"
REASON_LENGTH = 500


@dataclass(frozen=True)
class Base:
    """The frozen model of a worker, and where it is."""

    vlsm: FrozenVLSM
    device: torch.device


class TuningJobs:
    """Does jobs; whatever of one is done already is not done again.

    Args:
        store: Labels and decisions.
        data_dir: The registry, unfinished runs and revisions lie in it.
        load_base: Loads the frozen model; called once, for the first job.
        cache: How much frozen work to keep while tuning.
    """

    def __init__(
        self,
        store: LabelStore,
        data_dir: Path,
        *,
        load_base: Callable[[], Base],
        cache: CacheBudget | None = None,
    ):
        self._store, self._data_dir = store, data_dir
        self._load_base, self._cache = load_base, cache
        self._base: Base | None = None
        self._registry = Registry(data_dir / "registry")
        self._decisions = Decisions(store, self._registry)

    def __call__(self, job: Job, desk: Desk) -> None:
        """Do a job to its end.

        Raises:
            BrokenOff: It is to end here.
            StudioError: It cannot be done; the message is its cause.
        """
        desk.stage(Stage.PREPARING)
        policy = self._policy(job)
        revision = self._revision(job, desk)
        folder = lay_out(self._store, revision, self._data_dir / REVISIONS)
        if self._base is None:
            self._base = self._load_base()
        version = self._made_before(job)
        if version is None:
            version = self._tune(job, desk, policy, revision, folder, self._base)
        reference = Reference(job.dataset, version)
        outcome = self._outcome_before(job, policy, reference)
        if outcome is None:
            self._move_candidate(job, reference)
            outcome = self._judge(desk, policy, reference, folder, self._base)
        self._conclude(job, desk, outcome)

    def _policy(self, job: Job) -> Policy:
        with self._store.database.reading() as session:
            stored = dataset_row(session, job.dataset).policy
        return policy_of(stored, {k: v for k, v in job.request.items() if k != "reason"})

    def _revision(self, job: Job, desk: Desk) -> str:
        """The revision of this job: of what was accepted when it first began."""
        if job.revision is not None:
            return job.revision
        frozen = freeze(self._store, job.dataset, by=f"job {job.id}")
        with desk.claims.owned(job.id, desk.owner) as (session, row):
            row.revision_id = (
                session.query(RevisionRow.id)
                .filter(RevisionRow.dataset_id == row.dataset_id, RevisionRow.manifest == frozen.digest)
                .scalar()
            )
        rows = frozen.counts["rows"]
        desk.log(f"revision {frozen.number}: " + ", ".join(f"{rows[split]} in {split}" for split in rows))
        for split in Split:
            if not rows.get(split):
                raise BadInputError(
                    f"{job.dataset} has no accepted annotation in {split.value!r} yet: of every five images "
                    "one is kept for judging, the others for tuning: label more images"
                )
        return frozen.digest

    def _made_before(self, job: Job) -> str | None:
        """The version an earlier attempt at this job published."""
        version = job.result.get("version")
        if isinstance(version, str):
            return version
        known = self._registry.versions(job.dataset) if self._registry.has(job.dataset) else []
        for name in reversed(known):
            config = read_config(self._registry.folder(Reference(job.dataset, name)))
            if config.created < job.created_at:
                break
            if config.data.get("job") == job.id:
                return name
        return None

    def _outcome_before(self, job: Job, policy: Policy, reference: Reference) -> Outcome | None:
        """What an earlier attempt decided that died between moving the champion and saying so."""
        record, report = read_gate(self._registry, reference), job.result.get("report")
        if record is None or self._registry.aliases(job.dataset).get(CHAMPION) != reference.version:
            return None
        return _outcome(reference, record, policy, report)

    def _tune(self, job: Job, desk: Desk, policy: Policy, revision: str, folder: Path, base: Base) -> str:
        settings = TuneSettings(depth=policy.depth, n=policy.n, seed=policy.seed)
        rows = manifest(self._store, revision)
        warm_start = self._warm_start(job, desk, policy, settings, rows, base)
        training = {row["pixels"] for row in rows if row["split"] == Split.TRAIN}
        desk.stage(Stage.TUNING)
        result = tune(
            folder,
            vlsm=base.vlsm,
            data_dir=self._data_dir,
            settings=settings,
            strategies=policy.strategies or strategies_to_try(base.vlsm.spec),
            budget=policy.budget_for(len(training)),
            warm_start=warm_start,
            name=job.dataset,
            device=base.device,
            aliases="none",
            watch=watch_for(desk),
            cache=self._cache,
            about={"job": job.id, "revision": revision},
        )
        version = result.published.reference.version
        with desk.claims.owned(job.id, desk.owner) as (_, row):
            row.result = {"version": version}
        desk.log(f"published {result.published.reference}")
        return version

    def _warm_start(
        self, job: Job, desk: Desk, policy: Policy, settings: TuneSettings, rows: Sequence[Row], base: Base
    ) -> str | None:
        if policy.warm_start == NONE:
            return None
        if policy.warm_start != CHAMPION:
            return policy.warm_start
        judging = {row["picture"] for row in rows if row["split"] == Split.VAL}
        start, why = champion_to_start_from(self._registry, job.dataset, settings, base.vlsm.spec, judging)
        desk.log(why)
        return start

    def _move_candidate(self, job: Job, reference: Reference) -> None:
        if self._registry.aliases(job.dataset).get(CANDIDATE) != reference.version:
            reason = f"tuned on request of {job.requested_by}: {job.request.get('reason', '')}"
            self._registry.move_alias(
                reference, CANDIDATE, author=f"job {job.id}", reason=reason[:REASON_LENGTH]
            )

    def _judge(self, desk: Desk, policy: Policy, reference: Reference, folder: Path, base: Base) -> Outcome:
        desk.stage(Stage.JUDGING)
        versions = read_versions(self._registry, str(reference), None, base.vlsm)
        if versions.not_compared is not None:
            desk.log(versions.not_compared)
        judged = judge_versions(
            folder,
            versions,
            vlsm=base.vlsm,
            rule=policy.rule,
            device=base.device,
            progress=told_to(desk),
        )
        desk.stage(Stage.REPORTING)
        report = self._report(judged, versions, folder, base)
        write_gate(self._registry, reference, judged.record)
        with desk.claims.owned(desk.job.id, desk.owner) as (_, row):
            row.result = {"version": reference.version, "report": report}
        desk.check()
        return _outcome(reference, judged.record, policy, report)

    def _report(self, judged: Judged, versions: Versions, folder: Path, base: Base) -> str:
        """Keep the page of a candidate, and give its digest."""
        report = versions_report(judged, versions, vlsm=base.vlsm, device=base.device, folder=folder)
        return self._store.blobs.put(candidate_files(report)[HTML])

    def _conclude(self, job: Job, desk: Desk, outcome: Outcome) -> None:
        with desk.claims.owned(job.id, desk.owner) as (session, row):
            decision = self._decisions.conclude(session, row, outcome)
            told = {
                "version": outcome.candidate.version,
                "champion": outcome.champion,
                "verdict": outcome.verdict,
                "decision": decision.kind,
                "promoted": decision.kind is Kind.PROMOTED,
                "reason": decision.reason,
            }
            succeed(session, row, told)


def _outcome(reference: Reference, record: GateRecord, policy: Policy, report: str | None) -> Outcome:
    champion = None if record.champion is None else record.champion.name.rpartition("/")[2]
    return Outcome(
        candidate=reference,
        champion=champion,
        verdict=record.verdict,
        reason=record.reason,
        promote=policy.promote,
        figures=record.model_dump(mode="json", exclude={"rows"}),
        report=report,
    )
