import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_module
from job_parts import store_at
from omegaconf import OmegaConf
from safetensors.torch import load_file
from toy_data import write_toy

from models_store.errors import BadInputError, StudioError
from models_store.heads import HeadMode
from models_store.registry import Registry
from trainer.experiments import dataset_folder, run_config, settings_of
from trainer.jobs.decisions import Decisions
from trainer.jobs.outcomes import Kind
from trainer.labels.errors import ConflictError

CONF = Path(__file__).parents[2] / "trainer" / "conf"
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
SHORT = ["trainer.max_epochs=2", "strategy.depth=2", "data.batch_size=8", "data=folder", "select_on=holdout"]


def composed(*overrides):
    with initialize_config_module(config_module="trainer.conf", version_base="1.3"):
        return OmegaConf.to_container(compose("config", overrides=list(overrides)), resolve=True)


class TestExperiments:
    def test_there_is_one_for_every_combination(self):
        assert (
            sorted(
                [
                    f"{s}_clipseg"
                    for s in ("coop", "cocoop", "vpt", "maple", "shared_separate", "shared_attention")
                ]
                + ["coop_cris", "cocoop_cris"]
            )
            == EXPERIMENTS
        )

    @pytest.mark.parametrize("experiment", EXPERIMENTS)
    def test_has_the_protocols_values(self, experiment):
        config = composed(f"experiment={experiment}", "data=busi", "paths.data=/data")
        settings = settings_of(config)
        assert f"{settings.strategy}_{config['model']['name'].split('-')[0]}" == experiment
        assert (settings.rate, settings.batch_size, settings.n, settings.seed) == (2e-4, 32, 4, 12345)
        assert (settings.min_epochs, settings.epochs, settings.patience) == (10, 20, 12)
        assert (settings.select_on, settings.augment, settings.stop) == ("val", True, True)
        starts = experiment.split("_")[0] in ("coop", "cocoop", "maple")
        assert settings.initial_phrase == ("a photo of a" if starts else None)
        assert dataset_folder(config) == Path("/data/busi")

    def test_heads_differ_by_model_as_in_the_benchmark(self):
        heads = {name: settings_of(composed(f"experiment={name}")).head for name in EXPERIMENTS}
        assert heads["coop_clipseg"] is heads["cocoop_clipseg"] is HeadMode.NONE
        assert heads["vpt_clipseg"] is HeadMode.ADD
        assert heads["coop_cris"] is heads["maple_clipseg"] is HeadMode.MIX

    @pytest.mark.parametrize("path", sorted((CONF / "data").glob("*.yaml")), ids=lambda p: p.stem)
    def test_every_dataset_composes(self, path):
        assert settings_of(composed(f"data={path.stem}")).prompt_key == "p1"

    def test_overrides_reach_the_settings(self):
        settings = settings_of(
            composed(
                "experiment=maple_clipseg",
                "trainer=gpu",
                "data.batch_size=64",
                "strategy.options.hidden=32",
                "trainer.max_epochs=3",
            )
        )
        assert (settings.precision, settings.batch_size, settings.epochs) == ("16-mixed", 64, 3)
        assert settings.options["hidden"] == 32

    @pytest.mark.parametrize(
        ("overrides", "message"),
        [
            (["strategy=vpt", "+strategy.options.hidden=3"], "hidden is an option of cocoop, maple"),
            (["strategy.name=lora"], "no strategy 'lora'"),
            (["strategy.head=big"], "no head 'big'"),
            (["trainer.precision=8"], "precision '8' is not one of"),
        ],
    )
    def test_says_what_is_wrong(self, overrides, message):
        with pytest.raises(StudioError, match=message):
            settings_of(composed(*overrides))

    def test_a_dataset_must_be_found(self, monkeypatch):
        monkeypatch.delenv("TUNEVLSEG_DATA", raising=False)
        with pytest.raises(BadInputError, match="TUNEVLSEG_DATA"):
            dataset_folder(composed())
        with pytest.raises(BadInputError, match=r"data\.folder"):
            dataset_folder(composed("data=folder"))


class TestDevices:
    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
    @pytest.mark.parametrize(
        ("overrides", "message"),
        [
            (["trainer=gpu"], "1 GPUs were asked for, but there are 0"),
            (["trainer.precision=16-mixed"], "16-mixed needs a GPU"),
            (["trainer.devices=0"], "0 devices are too few"),
        ],
    )
    def test_that_are_not_there_are_refused(self, tmp_path, overrides, message):
        with pytest.raises(BadInputError, match=message):
            run_config(composed("data=folder", f"data.folder={tmp_path}", *overrides), tmp_path)


class TestModule:
    def test_two_processes_learn_what_one_does_with_all_images(self, tiny_folder, tmp_path):
        folder = write_toy(tmp_path / "toy", train=12, val=4)
        common = ["experiment=vpt_clipseg", *SHORT, f"data.folder={folder}", f"model.name={tiny_folder}"]
        one = run_config(composed(*common, f"paths.state={tmp_path / 'one'}"), tmp_path / "logs")
        assert (tmp_path / "logs" / "history.csv").read_text().count("\n") == 3

        command = [sys.executable, "-m", "trainer", *common, f"paths.state={tmp_path / 'two'}"]
        command += ["trainer=ddp", "trainer.accelerator=cpu", "trainer.max_epochs=2", "data.batch_size=4"]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("epoch   2:") == 1
        assert "published as toy/v0001" in done.stdout
        assert (tmp_path / "outputs").is_dir()

        weights = "registry/toy/versions/v0001/adapter_model.safetensors"
        ours, theirs = (load_file(tmp_path / name / weights) for name in ("one", "two"))
        assert ours.keys() == theirs.keys()
        assert all(torch.allclose(ours[name], theirs[name], atol=1e-5) for name in ours)
        assert one.tuned.published.champion

    def test_promotes_if_asked_but_no_pinned_champion(self, tiny_folder, tmp_path, monkeypatch):
        monkeypatch.delenv("TUNEVLSEG_DATABASE_URL", raising=False)
        folder = write_toy(tmp_path / "toy", train=12, val=4)
        common = ["experiment=vpt_clipseg", *SHORT, f"data.folder={folder}", f"model.name={tiny_folder}"]
        common += [f"paths.state={tmp_path / 'state'}", "trainer.max_epochs=1", "trainer.min_epochs=1"]
        run_config(composed(*common), tmp_path / "logs")
        registry, store = Registry(tmp_path / "state" / "registry"), store_at(tmp_path / "state")
        decisions = Decisions(store, registry)
        decisions.pin("toy", by="ann", reason="in a trial")
        again = composed(*common, "seed=2", "publish.promote=true")
        with pytest.raises(ConflictError, match="toy is pinned to v0001: unpin it"):
            run_config(again, tmp_path / "logs")
        assert registry.versions("toy") == ["v0001"]
        decisions.unpin("toy", by="ann", reason="over")
        run_config(again, tmp_path / "logs")
        assert registry.aliases("toy")["champion"] == "v0002"
        assert [d.kind for d in decisions.newest("toy", 1)] == [Kind.PROMOTED]
        store.database.close()

    def test_an_error_is_one_line_and_exit_code_2(self, tmp_path):
        command = [sys.executable, "-m", "trainer", "data=folder", f"data.folder={tmp_path / 'none'}"]
        command += ["model.name=clipseg-tiny-med"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert done.stderr.startswith("error: ")
        assert "Traceback" not in done.stderr
        assert done.stderr.count("\n") == 1
