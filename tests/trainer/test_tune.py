import copy
import json

import pytest
import torch
from toy_data import edit_split, write_toy

from models_store.digests import file_digest
from models_store.errors import BadInputError
from models_store.registry import Registry
from trainer.evaluate import evaluate
from trainer.feature_cache import NO_CACHE
from trainer.tune import Watch, tune
from trainer.tuning.holdout import ONE_GROUP
from trainer.tuning.settings import TuneSettings

SETTINGS = {"epochs": 2, "batch_size": 4, "depth": 2, "n": 4, "min_steps": 6, "lr": 1e-2}
OPTIONS = {"shared_attention": {"heads": 4, "feedforward": 32}}
FILES = {
    "adapter_config.json",
    "adapter_model.safetensors",
    "eval.json",
    "README.md",
    "SHA256SUMS",
    "loss.png",
    "dice.png",
    "history.csv",
    "cases.png",
    "report.html",
    "training_images.txt",
    "selection_images.txt",
}


@pytest.fixture
def folder(tmp_path):
    return write_toy(tmp_path / "toy", train=12, val=5)


def run(folder, vlsm, tmp_path, watch=None, **changes):
    settings = TuneSettings(**SETTINGS | changes)
    return tune(folder, vlsm=vlsm, data_dir=tmp_path / "data", settings=settings, watch=watch)


class TestTune:
    @pytest.mark.parametrize("strategy", ["vpt", "coop"])
    def test_publishes_a_version_that_scores_what_it_says(self, tiny, folder, tmp_path, strategy):
        before = copy.deepcopy(tiny.network.state_dict())
        ticks, measured = [], []
        watch = Watch(training=ticks.append, measuring=lambda *at: measured.append(at))
        result = run(folder, tiny, tmp_path, watch, strategy=strategy)
        assert {p.name for p in result.folder.iterdir()} == FILES
        registry = Registry(tmp_path / "data" / "registry")
        read = registry.read(registry.resolve("toy"))
        assert registry.aliases("toy") == {"candidate": "v0001", "champion": "v0001"}
        assert read.evaluation == json.loads(json.dumps(result.report))

        again = evaluate(folder, vlsm=tiny, pack=read.pack)
        assert again.summary() == read.evaluation["tuned"]
        assert evaluate(folder, vlsm=tiny).summary() == read.evaluation["zero_shot"]
        assert (read.evaluation["split"], read.evaluation["n"]) == ("val", 5)
        assert read.evaluation["selection"]["images"] == 4
        assert read.evaluation["training"]["images"] == 8
        assert len(read.evaluation["images"]) == 5

        assert (read.config.strategy, read.config.depth, read.config.n) == (strategy, 2, 4)
        assert read.config.labels == ["bright half"]
        assert read.config.base.digest == tiny.spec.digest
        assert len([t for t in ticks if t.dice is not None]) == 2
        assert measured[-1] == (5, 5)
        assert list((tmp_path / "data" / "runs").iterdir()) == []
        assert all(torch.equal(before[k], v) for k, v in tiny.network.state_dict().items())

    def test_patients_are_on_one_side_and_the_version_says_so(self, tiny, folder, tmp_path):
        edit_split(
            folder, "train", lambda entries: [e.update(group=f"p{n % 3}") for n, e in enumerate(entries)]
        )
        result = run(folder, tiny, tmp_path)
        listed = [
            set((result.folder / name).read_text().split())
            for name in ("training_images.txt", "selection_images.txt")
        ]
        patients = [
            {n % 3 for n in range(12) if file_digest(folder / "images" / f"train_{n:02d}.png") in digests}
            for digests in listed
        ]
        assert list(map(len, patients)) == [2, 1]
        assert not patients[0] & patients[1]
        assert "No group of images, such as a patient" in result.report["selection"]["note"]
        assert result.config.data["warnings"] == []

    def test_one_patient_is_parted_with_a_warning(self, tiny, folder, tmp_path):
        edit_split(folder, "train", lambda entries: [e.update(group="p") for e in entries])
        told = []
        result = run(folder, tiny, tmp_path, Watch(warned=told.append))
        assert result.config.data["warnings"] == told == [ONE_GROUP]
        assert "No group" not in result.report["selection"]["note"]

    def test_beats_zero_shot_on_a_task_that_can_be_learned(self, tiny, folder, tmp_path):
        report = run(folder, tiny, tmp_path).report
        assert report["tuned"]["dice"]["mean"] > report["zero_shot"]["dice"]["mean"] + 0.15
        assert report["difference"]["dice"]["low"] > 0

    def test_the_card_tells_base_figures_and_restriction(self, tiny, folder, tmp_path):
        result = run(folder, tiny, tmp_path)
        card = (result.folder / "README.md").read_text()
        for text in (
            "Research use only",
            tiny.spec.digest,
            f"{result.report['tuned']['dice']['mean']:.3f}",
            '"bright half"',
            "val was used for nothing but these figures",
        ):
            assert text in card

    def test_the_same_seed_gives_the_same_pack_and_another_does_not(self, tiny, folder, tmp_path):
        digests = []
        for seed in (5, 5, 6):
            folder_of_version = run(folder, tiny, tmp_path, seed=seed, epochs=1).folder
            digests.append(json.loads((folder_of_version / "adapter_config.json").read_text())["pack_digest"])
        assert digests[0] == digests[1] != digests[2]

    @pytest.mark.parametrize("strategy", ["coop", "shared_attention"])
    def test_the_same_seed_gives_the_same_bytes_with_and_without_kept_features(
        self, tiny_hybrid, folder, tmp_path, strategy
    ):
        written = []
        for place, cache in (("a", None), ("b", NO_CACHE)):
            settings = TuneSettings(**SETTINGS | {"strategy": strategy, "options": OPTIONS.get(strategy, {})})
            result = tune(folder, vlsm=tiny_hybrid, data_dir=tmp_path / place, settings=settings, cache=cache)
            written.append((result.folder / "adapter_model.safetensors").read_bytes())
        assert written[0] == written[1]

    def test_one_phrase_and_selection_on_val_are_recorded(self, tiny, folder, tmp_path):
        result = run(folder, tiny, tmp_path, phrase="thing", select_on="val", epochs=1)
        assert result.report["phrase"] == "thing"
        assert result.report["training"]["images"] == 12
        assert "optimistic" in result.report["selection"]["note"]
        assert json.loads((result.folder / "adapter_config.json").read_text())["labels"] == ["thing"]

    def test_a_damaged_dataset_is_refused_with_its_faults_and_nothing_is_written(
        self, tiny, folder, tmp_path
    ):
        (folder / "images" / "train_03.png").unlink()
        edit_split(folder, "train", lambda entries: entries[0].pop("mask_name"))
        with pytest.raises(BadInputError) as caught:
            run(folder, tiny, tmp_path)
        assert "2 faults" in str(caught.value)
        assert "train_03.png" in str(caught.value)
        assert not (tmp_path / "data").exists()

    def test_an_unacceptable_name_is_refused_before_any_work(self, tiny, folder, tmp_path):
        with pytest.raises(BadInputError, match="dataset name 'No Way' is not acceptable"):
            tune(folder, vlsm=tiny, data_dir=tmp_path / "data", settings=TuneSettings(), name="No Way")
        assert not (tmp_path / "data").exists()

    def test_works_on_real_images(self, tiny_hybrid, shared_data, tmp_path):
        report = run(shared_data / "isic2017_skin_mini", tiny_hybrid, tmp_path, epochs=1, min_steps=2).report
        assert report["n"] == 4
        assert 0 <= report["tuned"]["dice"]["mean"] <= 1
        assert report["training"]["images"] == 7
