import torch

from models_store.packs import decode_pack, encode_phrases
from models_store.strategies import make_learner
from trainer.acquisition.encoded_once import EncodedOnce
from trainer.feature_cache import NO_CACHE, tensors_of


def pixels(count: int, side: int) -> torch.Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def test_an_image_is_encoded_once_whatever_it_is_asked_with(tiny):
    once, images = EncodedOnce(tiny), pixels(3, tiny.spec.image_size)
    first = once.encode_image(images[:2])
    second = once.encode_image(images[[2, 0]], pooled=True)
    assert once.encoded == 3
    assert torch.equal(first.activations[0][0], second.activations[0][1])
    assert first.pooled is None
    assert torch.equal(second.pooled, once.pooled(images[[2, 0]]))
    assert once.encoded == 3


def test_features_are_those_of_the_model(tiny_hybrid):
    once, images = EncodedOnce(tiny_hybrid), pixels(2, tiny_hybrid.spec.image_size)
    for row in (0, 1):
        plain = tiny_hybrid.encode_image(images[row : row + 1], pooled=True)
        kept = once.encode_image(images, pooled=True).select(torch.tensor([row]))
        assert all(map(torch.equal, tensors_of(plain), tensors_of(kept)))


def test_beyond_the_budget_images_are_encoded_anew_but_pooled_features_are_kept(tiny):
    once, image = EncodedOnce(tiny, budget=NO_CACHE), pixels(1, tiny.spec.image_size)
    once.encode_image(image)
    once.encode_image(image)
    assert once.encoded == 2
    once.pooled(image)
    assert once.encoded == 2


def test_visual_prompts_go_to_the_model_and_are_not_kept(tiny):
    once, image = EncodedOnce(tiny), pixels(1, tiny.spec.image_size)
    prompts = torch.ones(1, 2, tiny.spec.vision_width)
    found, plain = once.encode_image(image, prompts), tiny.encode_image(image, prompts)
    assert all(map(torch.equal, tensors_of(found), tensors_of(plain)))
    assert once.encoded == 0


def test_what_was_kept_in_inference_mode_can_be_trained_on(tiny):
    once, image = EncodedOnce(tiny), pixels(1, tiny.spec.image_size)
    with torch.inference_mode():
        once.encode_image(image)
    learner = make_learner("coop", tiny, depth=2, n=2, seed=0)
    tokens = once.tokenize(["bright half"], 2)
    features = once.encode_image(image)
    pack = learner.pack()
    decode_pack(once, pack, features, encode_phrases(once, pack, tokens)).sum().backward()
    assert all(parameter.grad is not None for parameter in learner.parameters())
    assert once.encoded == 1
