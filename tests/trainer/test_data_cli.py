import json

from data_files import write_camus, write_plain, write_voc
from toy_data import edit_split, write_toy
from typer.testing import CliRunner

from server.cli.main import app


def check(*arguments):
    return CliRunner().invoke(app, ["datasets", "check", *map(str, arguments)])


def report_of(*arguments):
    result = check(*arguments, "--json")
    return result.exit_code, json.loads(result.stdout)


def test_json_says_what_there_is(tmp_path):
    folder = write_toy(tmp_path / "toy", train=4, val=2)
    code, report = report_of(folder)
    assert code == 0
    assert report["format"] == "tasks"
    assert report["splits"]["train"] == {"images": 4, "rows": 4, "empty_masks": 0}
    assert report["image_sizes"] == {"distinct": 3, "width": [80, 88], "height": [72, 72]}
    assert report["prompts"] == {
        "p1": {"rows": 6, "texts": 1, "most_frequent": ["bright half"], "empty_masks_told": 0}
    }
    assert report["warnings"] == report["faults"] == []


def test_several_classes_and_texts(tmp_path):
    code, report = report_of(write_voc(tmp_path / "voc"))
    assert code == 0
    assert report["classes"] == {
        "cat": {"train": 1, "val": 1},
        "pottedplant": {"train": 1, "val": 1},
        "sofa": {"train": 1, "val": 1},
    }
    assert report["splits"]["train"]["images"] == 2
    _, camus = report_of(write_camus(tmp_path / "camus"))
    assert camus["prompts"]["p1"]["texts"] == 6
    assert camus["splits"]["test"] == {"images": 2, "rows": 6, "empty_masks": 0}


def test_faults_are_listed_and_the_exit_code_says_so(tmp_path):
    folder = write_toy(tmp_path / "toy", train=4, val=2)
    (folder / "masks" / "train_00.png").unlink()
    edit_split(folder, "val", lambda e: e[0].update(img_name="train_01.png", mask_name="train_01.png"))
    code, report = report_of(folder)
    assert code == 2
    assert len(report["faults"]) == 2
    result = check(folder)
    assert result.exit_code == 2
    assert "faults: 2" in result.stdout
    assert "anns/train.json, entry 0: missing masks/train_00.png" in result.stdout
    assert "the same image is in train (train_01.png) and val (train_01.png)" in result.stdout


def test_a_table_for_people_shows_texts_as_they_are(tmp_path):
    folder = write_toy(tmp_path / "toy", train=4, val=2)
    edit_split(folder, "train", lambda e: [entry["prompts"].update(p2="[red]wound[/red]") for entry in e])
    result = check(folder)
    assert result.exit_code == 0
    assert "[red]wound[/red]" in result.stdout
    assert "faults: none" in result.stdout


def test_plain_folders_need_a_phrase(tmp_path):
    folder = write_plain(tmp_path / "plain")
    assert check(folder).exit_code == 2
    assert check(folder, "--phrase", "box").exit_code == 0
    assert check(folder, "--phrase", "box", "--format", "coco").exit_code == 1


def test_real_images_with_empty_masks_and_neutral_phrases(shared_data):
    code, report = report_of(shared_data / "busi")
    assert code == 0
    assert sum(split["empty_masks"] for split in report["splits"].values()) == 110
    assert {key: said["empty_masks_told"] for key, said in report["prompts"].items()} == dict.fromkeys(
        ("p1", "p2", "p3", "p4"), 0
    )
    assert not any("tells" in text for text in report["warnings"])
