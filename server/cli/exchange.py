"""``tunevlseg checkpoints export``, ``import`` and ``push``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from server.cli.checkpoint_parts import AsJson, Author, Ref, labels_at, login, print_json, registry_at
from server.cli.common import Base, DataDir

if TYPE_CHECKING:
    from models_store.exchange import Imported
    from models_store.registry import Registry
    from server.labels import Labels

Cases = Annotated[
    bool,
    typer.Option(
        "--cases",
        help="For the hub: also the pictures and per-image figures, which show the data it was made from.",
    ),
]
PASS_ON = "It holds figures and pictures of single images: pass it on only where you may pass on the data."


def export(
    reference: Ref,
    out: Annotated[Path, typer.Argument(help="A folder or file that is not there yet.")],
    kind: Annotated[
        Literal["folder", "zip", "hub"] | None,
        typer.Option("--format", help="Default: zip for a name that ends in `.zip`, else folder."),
    ] = None,
    cases: Cases = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Write a checkpoint out as a folder, a zip file or in the hub's layout, verified before and after."""
    from models_store.exchange import export_checkpoint

    registry = registry_at(data_dir)
    target = registry.resolve(reference)
    kind = kind or ("zip" if out.suffix == ".zip" else "folder")
    export_checkpoint(registry, target, out, kind, cases=cases)
    if as_json:
        return print_json({"reference": str(target), "format": kind, "out": str(out)})
    typer.echo(f"{target} -> {out}")
    if kind != "hub":
        typer.echo(PASS_ON)


def import_(
    source: Annotated[str, typer.Argument(help="A folder, a zip file, or a hub id `owner/name`.")],
    dataset: Annotated[str, typer.Option(help="The dataset it becomes a version of.")],
    promote: Annotated[bool, typer.Option("--promote", help="Make it the dataset's champion.")] = False,
    author: Author = None,
    reference: Annotated[
        bool,
        typer.Option(
            "--reference",
            help="The source is a training checkpoint (`.ckpt`) of TuneVLSeg's own code, for the base model "
            "of `--base`. The options below say what such a file does not.",
        ),
    ] = False,
    label: Annotated[
        list[str] | None, typer.Option(help="With --reference: a phrase it was trained on; repeatable.")
    ] = None,
    strategy: Annotated[
        str | None, typer.Option(help="With --reference: its strategy, where the file does not tell.")
    ] = None,
    head: Annotated[
        Literal["none", "add", "mix"] | None,
        typer.Option(help="With --reference: what was done with its head. Default: what its class does."),
    ] = None,
    normalise: Annotated[
        bool, typer.Option("--normalise", help="With --reference, CoCoOp: image features had length one.")
    ] = False,
    post_norm: Annotated[
        bool, typer.Option("--post-norm", help="With --reference, shared_attention: norms came last.")
    ] = False,
    heads: Annotated[
        int, typer.Option(min=1, help="With --reference, shared_attention: attention heads.")
    ] = 16,
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="With --reference: probability of the mask's edge.")
    ] = 0.5,
    base: Base = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Add a checkpoint from elsewhere, verified, whole or not at all; the same files again add nothing."""
    from models_store.exchange import import_checkpoint
    from trainer.jobs.aliases import check_unpinned

    registry, labels = registry_at(data_dir), labels_at(data_dir)
    if promote:
        # Before anything is added that could not be promoted then.
        check_unpinned(lambda: labels.present, dataset)
    if reference:
        told = {"strategy": strategy, "normalise": normalise, "pre_norm": not post_norm, "heads": heads}
        done = _import_reference(registry, source, dataset, base, label or [], threshold, head, told)
    else:
        done = import_checkpoint(registry, source, dataset)
    champion = _promote(registry, labels, done, source, author) if promote else _is_champion(registry, done)
    if as_json:
        return print_json({"reference": str(done.reference), "new": done.new, "champion": champion})
    typer.echo(
        f"{done.reference} {'was added' if done.new else 'holds these files already; nothing was added'}"
    )
    if champion:
        typer.echo(f"it is the champion of {dataset}")


def _import_reference(
    registry: Registry,
    source: str,
    dataset: str,
    base: str | None,
    labels: list[str],
    threshold: float,
    head: str | None,
    told: dict[str, Any],
) -> Imported:
    from models_store.bases import load_base
    from models_store.errors import BadInputError
    from models_store.exchange.training import import_training_checkpoint
    from models_store.heads import HeadMode
    from models_store.registry import check_dataset_name
    from server.settings import read_settings

    check_dataset_name(dataset)
    if not labels:
        raise BadInputError(
            "--reference needs the phrases it was trained on, such as --label 'breast tumour'"
        )
    return import_training_checkpoint(
        registry,
        Path(source).expanduser(),
        dataset,
        load_base(read_settings(base=base).base),
        labels=labels,
        threshold=threshold,
        head=None if head is None else HeadMode(head),
        **told,
    )


def _is_champion(registry: Registry, done: Imported) -> bool:
    from models_store.registry import CHAMPION

    return registry.aliases(done.reference.dataset).get(CHAMPION) == done.reference.version


def _promote(registry: Registry, labels: Labels, done: Imported, source: str, author: str | None) -> bool:
    from models_store.registry import CHAMPION
    from trainer.jobs.aliases import move_alias

    if not _is_champion(registry, done):
        by, reason = author or login(), f"imported from {source}"
        move_alias(registry, lambda: labels.present, done.reference, CHAMPION, by=by, reason=reason)
    return True


def push(
    reference: Ref,
    repository: Annotated[str, typer.Argument(help="A model repository of the hub, `owner/name`.")],
    private: Annotated[bool, typer.Option("--private", help="Nobody else may see it.")] = False,
    cases: Cases = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Upload a checkpoint to the Hugging Face hub, as whom `hf auth login` or HF_TOKEN says.

    It replaces the repository's content, which must be empty or a checkpoint.
    """
    from models_store.exchange import push_checkpoint

    registry = registry_at(data_dir)
    target = registry.resolve(reference)
    pushed = push_checkpoint(registry, target, repository, private=private, cases=cases)
    if as_json:
        return print_json({"reference": str(target)} | asdict(pushed))
    typer.echo(f"{target} -> {pushed.url} ({', '.join(pushed.files)})")
