"""Every bad input the service promises to refuse: how, and that nothing else happens."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import bundled_dicom, make_app, png, publish, tree
from starlette.testclient import TestClient

from models_store.registry import CHAMPION, Reference, Registry
from models_store.vlsm import FrozenVLSM
from server.errors import SettingsError
from server.settings import read_settings

UPLOAD_LIMIT = 200_000


class Guarded:
    """A service that checks, after every refusal, that it still answers and wrote nothing."""

    def __init__(self, client: TestClient, registry: Registry, data_dir: Path):
        self.client = client
        self.registry = registry
        self.data_dir = data_dir

    def refuse(
        self, status: int, kind: str, *texts: str, method: str = "POST", url: str = "/segment", **request: Any
    ) -> dict[str, Any]:
        before = tree(self.data_dir)
        answer = self.client.request(method, url, **request)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        problem: dict[str, Any] = answer.json()
        assert problem["type"] == f"/problems/{kind}"
        assert problem["status"] == status
        assert problem["title"]
        for text in texts:
            assert text in problem["detail"]
        assert self.client.get(problem["type"]).json()["title"] == problem["title"]
        assert tree(self.data_dir) == before
        good = self.client.post("/segment", files={"image": ("x", png())}, data={"prompt": "x"})
        assert good.status_code == 200, good.text
        return problem

    def refuse_image(self, content: bytes, kind: str, *texts: str) -> None:
        self.refuse(422, kind, *texts, files={"image": ("scan.png", content)}, data={"prompt": "liver"})

    def refuse_fields(self, status: int, kind: str, *texts: str, **fields: Any) -> dict[str, Any]:
        return self.refuse(
            status, kind, *texts, files={"image": ("x.png", png())}, data={"prompt": "liver"} | fields
        )


@pytest.fixture
def service(tiny_hybrid: FrozenVLSM, tmp_path: Path) -> Iterator[Guarded]:
    data_dir = tmp_path / "data"
    app, registry, _ = make_app(tiny_hybrid, data_dir, max_upload_bytes=UPLOAD_LIMIT)
    version = publish(registry, tiny_hybrid, "busi", "coop")
    registry.move_alias(version, CHAMPION, author="t", reason="test")
    with TestClient(app) as client:
        yield Guarded(client, registry, data_dir)


class TestImages:
    def test_not_an_image(self, service: Guarded) -> None:
        service.refuse_image(
            b"Dear colleague, ...", "unreadable-image", "not an image", "accepted are PNG", "DICOM"
        )

    def test_zero_bytes(self, service: Guarded) -> None:
        service.refuse_image(b"", "unreadable-image", "empty (0 bytes)", "accepted are PNG")

    def test_truncated_dicom(self, service: Guarded) -> None:
        content = bundled_dicom("CT_small.dcm")
        service.refuse_image(content[:20_000], "unreadable-image", "begins like DICOM", "cut short")

    def test_truncated_png(self, service: Guarded) -> None:
        service.refuse_image(png()[:-30], "unreadable-image", "begins like a PNG", "cut short")

    def test_ten_gigapixel_header(self, service: Guarded) -> None:
        def chunk(kind: bytes, data: bytes) -> bytes:
            return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

        head = chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0))
        content = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000)))
        service.refuse_image(content, "image-too-large", "10,000,000,000 pixels", "at most 50,000,000")


class TestFields:
    def test_unknown_dataset(self, service: Guarded) -> None:
        service.refuse_fields(404, "unknown-dataset", "no dataset 'nope'", "there are: busi", dataset="nope")
        service.refuse_fields(404, "unknown-dataset", "no dataset 'nope'", checkpoint="nope/v0001")
        service.refuse_fields(404, "unknown-dataset", "no dataset '..'", checkpoint="../../etc")

    def test_unknown_version_and_alias(self, service: Guarded) -> None:
        service.refuse_fields(
            404, "unknown-name", "no version 'v0009'", "it has v0001", checkpoint="busi/v0009"
        )
        service.refuse_fields(404, "unknown-name", "no alias 'candidate'", checkpoint="busi@candidate")

    def test_a_dataset_without_champion(self, service: Guarded, tiny_hybrid: FrozenVLSM) -> None:
        publish(service.registry, tiny_hybrid, "fresh", "coop")
        service.refuse_fields(404, "no-champion", "'fresh' has no champion", "fresh/v0001", dataset="fresh")

    def test_a_checkpoint_that_is_no_reference(self, service: Guarded) -> None:
        service.refuse_fields(422, "bad-input", "write dataset, dataset@alias", checkpoint="busi/v0001/x")

    def test_dataset_and_checkpoint_that_disagree(self, service: Guarded) -> None:
        texts = ("checkpoint 'other/v0001' is of dataset 'other'", "dataset 'busi' was asked for")
        service.refuse_fields(422, "bad-input", *texts, dataset="busi", checkpoint="other/v0001")

    @pytest.mark.parametrize("prompt", ["", "   ", ["liver", ""]])
    def test_empty_prompt(self, service: Guarded, prompt: str | list[str]) -> None:
        service.refuse_fields(
            422, "bad-prompt", "is empty", "1 to 500 characters are accepted", prompt=prompt
        )

    def test_five_thousand_characters(self, service: Guarded) -> None:
        texts = ("5,000 characters", "1 to 500 are accepted")
        service.refuse_fields(422, "bad-prompt", *texts, prompt="liver " * 833 + "li")

    def test_too_many_prompts(self, service: Guarded) -> None:
        service.refuse_fields(422, "bad-prompt", "33 prompts; 1 to 32 are accepted", prompt=["x"] * 33)

    @pytest.mark.parametrize(
        ("threshold", "text"),
        [
            ("7", "less than or equal to 1"),
            ("-0.1", "greater than or equal to 0"),
            ("nan", "number"),
            ("half", "number"),
        ],
    )
    def test_threshold(self, service: Guarded, threshold: str, text: str) -> None:
        problem = service.refuse_fields(422, "invalid-request", "threshold: ", text, threshold=threshold)
        assert [fault["field"] for fault in problem["errors"]] == ["threshold"]

    def test_unknown_output(self, service: Guarded) -> None:
        service.refuse_fields(422, "invalid-request", "output: ", "'overlay'", output="gif")

    @pytest.mark.parametrize(
        ("output", "what", "instead"),
        [
            ("png", "shows one mask", "combine=labels, or take json, contours or overlay"),
            ("nifti", "shows one mask", "combine=labels, or take json, contours or overlay"),
            ("probability", "shows one phrase's map", "take json with probabilities"),
            ("probability16", "shows one phrase's map", "take json with probabilities"),
        ],
    )
    def test_one_picture_for_two_prompts(
        self, service: Guarded, output: str, what: str, instead: str
    ) -> None:
        texts = (f"{what}, but there are 2 prompts", instead)
        service.refuse_fields(422, "bad-input", *texts, prompt=["a", "b"], output=output)

    def test_missing_fields_are_listed(self, service: Guarded) -> None:
        problem = service.refuse(
            422, "invalid-request", "prompt: ", "series: ", files={"series": (None, "perhaps")}
        )
        assert [fault["field"] for fault in problem["errors"]] == ["prompt", "series"]

    def test_no_image(self, service: Guarded) -> None:
        service.refuse(422, "bad-input", "no image was sent", "image_id", files={"prompt": (None, "x")})

    def test_a_text_in_place_of_the_file(self, service: Guarded) -> None:
        service.refuse(
            422, "invalid-request", "image.0: ", files={"prompt": (None, "x"), "image": (None, "text")}
        )


class TestBodies:
    def test_wrong_content_type(self, service: Guarded) -> None:
        accepted = "multipart/form-data is accepted, with the fields that /docs tells"
        service.refuse(415, "unsupported-type", "'application/json'", accepted, json={"prompt": "liver"})
        service.refuse(
            415,
            "unsupported-type",
            "'image/png'",
            accepted,
            content=png(),
            headers={"content-type": "image/png"},
        )
        service.refuse(415, "unsupported-type", accepted, data={"prompt": "liver"})
        service.refuse(415, "unsupported-type", "'missing'", accepted)

    @pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=x"])
    def test_a_body_that_is_no_form(self, service: Guarded, content_type: str) -> None:
        service.refuse(400, "bad-request", content=b"not a form", headers={"content-type": content_type})

    def test_an_upload_over_the_limit_by_its_length(self, service: Guarded) -> None:
        files = {"image": ("x", bytes(UPLOAD_LIMIT))}
        text = "larger than the 200,000 bytes this service takes"
        service.refuse(413, "too-large", text, files=files, data={"prompt": "x"})

    def test_an_upload_over_the_limit_that_does_not_say_so(self, service: Guarded) -> None:
        def parts() -> Iterator[bytes]:
            yield b'--x\r\ncontent-disposition: form-data; name="image"; filename="x"\r\n\r\n'
            for _ in range(UPLOAD_LIMIT // 10_000 + 1):
                yield bytes(10_000)
            yield b"\r\n--x--\r\n"

        headers = {"content-type": "multipart/form-data; boundary=x"}
        text = "larger than the 200,000 bytes this service takes"
        service.refuse(413, "too-large", text, content=parts(), headers=headers)

    def test_the_limit_holds_for_json_too(self, service: Guarded) -> None:
        body = {"version": "v0001", "reason": "x" * UPLOAD_LIMIT, "author": "t"}
        service.refuse(413, "too-large", method="PUT", url="/datasets/busi/aliases/champion", json=body)

    def test_an_upload_just_under_the_limit_is_taken(self, service: Guarded) -> None:
        # Pillow does not mind what follows the end of a PNG.
        content = png() + bytes(UPLOAD_LIMIT - len(png()) - 1000)
        answer = service.client.post("/segment", files={"image": ("x", content)}, data={"prompt": "x"})
        assert answer.status_code == 200


class TestAddresses:
    def test_unknown_address(self, service: Guarded) -> None:
        service.refuse(404, "not-found", "GET /segments: not found", method="GET", url="/segments")

    def test_wrong_method(self, service: Guarded) -> None:
        service.refuse(405, "method-not-allowed", "GET /segment", method="GET")

    def test_unknown_problem_type(self, service: Guarded) -> None:
        service.refuse(
            404, "not-found", "no problem type 'x'", "unknown-dataset", method="GET", url="/problems/x"
        )


class TestCheckpoints:
    def test_made_for_another_base(self, service: Guarded, tiny: FrozenVLSM, tiny_hybrid: FrozenVLSM) -> None:
        publish(service.registry, tiny, "other", "vpt")
        digests = (tiny.spec.digest, tiny_hybrid.spec.digest)
        service.refuse_fields(409, "mismatch", *digests, checkpoint="other/v0001")
        body = {"version": "v0001", "reason": "r", "author": "a"}
        service.refuse(
            409, "mismatch", *digests, method="PUT", url="/datasets/other/aliases/champion", json=body
        )

    def test_damaged(self, service: Guarded) -> None:
        # Published after the start, so that it is not in memory yet.
        folder = service.registry.folder(Reference("busi", "v0001"))
        weights = folder / "adapter_model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-10])
        service.refuse_fields(503, "damaged", "adapter_model.safetensors has digest", dataset="busi")

    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"champion": 3}'])
    def test_a_damaged_alias_file(self, service: Guarded, content: bytes) -> None:
        (service.registry.root / "busi" / "aliases.json").write_bytes(content)
        service.refuse_fields(503, "damaged", "aliases.json", dataset="busi")


class TestUnexpected:
    def test_a_fault_of_ours_says_nothing_of_the_inside(
        self, tiny_hybrid: FrozenVLSM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        app, registry, _ = make_app(tiny_hybrid, tmp_path)

        def broken() -> list[str]:
            raise ZeroDivisionError("secret")

        monkeypatch.setattr(registry, "datasets", broken)
        app.state.parts.engine.registry = registry
        with TestClient(app, raise_server_exceptions=False) as client:
            answer = client.get("/datasets")
        assert (answer.status_code, answer.json()["type"]) == (500, "/problems/internal")
        assert "secret" not in answer.text


class TestSettings:
    def test_values_from_the_environment(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("TUNEVLSEG_MAX_PHRASES", "3")
        monkeypatch.setenv("TUNEVLSEG_DATA_DIR", str(tmp_path))
        monkeypatch.setenv("PORT", "9001")
        settings = read_settings()
        assert (settings.max_phrases, settings.data_dir, settings.port) == (3, tmp_path, 9001)
        assert read_settings(port=9002).port == 9002
        monkeypatch.setenv("TUNEVLSEG_PORT", "9003")
        assert read_settings().port == 9003

    def test_a_bad_value_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TUNEVLSEG_MAX_PHRASES", "many")
        with pytest.raises(SettingsError, match=r"max_phrases = 'many': .*valid integer"):
            read_settings()
