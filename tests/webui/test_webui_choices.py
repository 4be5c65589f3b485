from typing import Any

from webui.choices import ANY_DATASET, ZERO_SHOT, checkpoint_menu, dataset_choices, request_fields, tuned_for

DATASETS: list[dict[str, Any]] = [
    {"name": "busi", "champion": "v0002", "labels": ["breast tumor"]},
    {"name": "lungs", "champion": None, "labels": ["lungs"]},
]


def checkpoint(reference: str, *, usable: bool = True, aliases: tuple[str, ...] = ()) -> dict[str, Any]:
    dataset, _, version = reference.partition("/")
    return {
        "reference": reference,
        "dataset": dataset,
        "version": version,
        "strategy": "vpt",
        "depth": 6,
        "labels": [f"label of {version}"],
        "aliases": list(aliases),
        "usable": usable,
        "fault": None if usable else "made for another base",
    }


CHECKPOINTS = [
    checkpoint("busi/v0001", aliases=("candidate",)),
    checkpoint("busi/v0002", aliases=("champion",)),
    checkpoint("busi/v0003", usable=False),
    checkpoint("lungs/v0001"),
]


def test_datasets_are_offered_after_no_choice_at_all() -> None:
    assert dataset_choices(DATASETS) == [("Any dataset", ANY_DATASET), ("busi", "busi"), ("lungs", "lungs")]


def test_zero_shot_is_first_and_preferred_without_a_dataset() -> None:
    menu = checkpoint_menu(ANY_DATASET, DATASETS, CHECKPOINTS)
    assert menu.choices[0] == ("Zero-shot (no checkpoint)", ZERO_SHOT)
    assert menu.preferred == ZERO_SHOT
    assert request_fields(ZERO_SHOT) == {}


def test_every_usable_checkpoint_can_be_asked_for_and_no_other() -> None:
    menu = checkpoint_menu(ANY_DATASET, DATASETS, CHECKPOINTS)
    assert [request_fields(value) for _, value in menu.choices[1:]] == [
        {"dataset": "busi"},
        {"checkpoint": "busi/v0001"},
        {"checkpoint": "busi/v0002"},
        {"checkpoint": "lungs/v0001"},
    ]
    assert "busi/v0003" in menu.note


def test_a_datasets_champion_is_preferred_by_its_dataset() -> None:
    menu = checkpoint_menu("busi", DATASETS, CHECKPOINTS)
    assert request_fields(menu.preferred) == {"dataset": "busi"}
    assert not any("lungs" in label for label, _ in menu.choices)


def test_a_dataset_without_a_usable_champion_prefers_zero_shot() -> None:
    assert checkpoint_menu("lungs", DATASETS, CHECKPOINTS).preferred == ZERO_SHOT
    damaged = [checkpoint("busi/v0002", usable=False, aliases=("champion",))]
    menu = checkpoint_menu("busi", DATASETS, damaged)
    assert (menu.preferred, len(menu.choices)) == (ZERO_SHOT, 1)


def test_labels_tell_versions_apart() -> None:
    labels = [label for label, _ in checkpoint_menu("busi", DATASETS, CHECKPOINTS).choices]
    assert labels == [
        "Zero-shot (no checkpoint)",
        "busi · champion (v0002)",
        "busi/v0001 · vpt · depth 6 · candidate",
        "busi/v0002 · vpt · depth 6",
    ]


def test_tuned_for_follows_the_champion() -> None:
    assert tuned_for("dataset:busi", DATASETS, CHECKPOINTS) == ["label of v0002"]
    assert tuned_for("checkpoint:busi/v0001", DATASETS, CHECKPOINTS) == ["label of v0001"]
    assert tuned_for(ZERO_SHOT, DATASETS, CHECKPOINTS) == []
