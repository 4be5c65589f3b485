"""The networks between learned vectors and prompts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models_store.errors import BadInputError
from models_store.projections import ProjectionForm, apply_each, projection_form, seeded_modules


def build(inputs: int, outputs: int, hidden: Any = None, **options: Any) -> nn.Module:
    flags = {"lora": False, "norm": True, "final_bias": True} | options
    return projection_form(hidden, **flags).build(inputs, outputs)


def shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


def test_without_a_width_it_is_linear_whatever_else_is_said() -> None:
    expected = {"weight": (5, 3), "bias": (5,)}
    assert shapes(build(3, 5)) == expected
    assert shapes(build(3, 5, norm=False, final_bias=False)) == expected


@pytest.mark.parametrize(
    ("norm", "bias", "end"),
    [
        (True, True, {"3.weight": (5,), "3.bias": (5,)}),
        (True, False, {"3.weight": (5,)}),
        (False, True, {"2.bias": (5,)}),
        (False, False, {}),
    ],
)
def test_an_mlp_ends_in_a_norm_or_a_bias(norm: bool, bias: bool, end: dict[str, tuple[int, ...]]) -> None:
    found = shapes(build(3, 5, 7, norm=norm, final_bias=bias))
    assert found == {"0.weight": (7, 3), "0.bias": (7,), "2.weight": (5, 7)} | end


def test_an_mlp_of_several_widths() -> None:
    module = build(3, 5, [7, 4])
    kinds = [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear, nn.LayerNorm]
    assert [type(part) for part in module] == kinds
    assert shapes(module)["2.weight"] == (4, 7)


@pytest.mark.parametrize("bias", [False, True])
def test_lora_is_a_product_of_low_rank(bias: bool) -> None:
    module = build(30, 20, 2, lora=True, norm=False, final_bias=bias)
    end = {"1.bias": (20,)} if bias else {}
    assert shapes(module) == {"0.weight": (2, 30), "1.weight": (20, 2)} | end
    with torch.no_grad():
        jacobian = torch.func.jacrev(module)(torch.ones(30))
        assert torch.linalg.matrix_rank(jacobian) == 2
        assert torch.allclose(jacobian, torch.func.jacrev(module)(-3 * torch.ones(30)))
        assert module(torch.ones(30)).abs().max() > 0


@pytest.mark.parametrize(("rank", "single"), [(5, False), (6, True)])
def test_lora_of_a_rank_beyond_its_output_is_one_matrix(rank: int, single: bool) -> None:
    found = shapes(build(9, 5, rank, lora=True))
    first = {"0.weight": (5, 9)} if single else {"0.weight": (rank, 9), "1.weight": (5, rank)}
    norm = "1" if single else "2"
    assert found == first | {f"{norm}.weight": (5,), f"{norm}.bias": (5,)}


def test_hidden_layers_start_as_kaiming_says_and_the_last_does_not() -> None:
    torch.manual_seed(0)
    module = build(100, 100, [4000, 2000], norm=False)
    for at, inputs in ((0, 100), (2, 4000)):
        assert module[at].weight.std().item() == pytest.approx((2 / inputs) ** 0.5, rel=0.02)
    last = module[4].weight
    assert last.abs().max() <= 2000**-0.5
    assert last.std().item() == pytest.approx((3 * 2000) ** -0.5, rel=0.02)


@pytest.mark.parametrize("hidden", [0, -3, [], [4, 0], 2.5, "64", True, ["a"]])
def test_widths_that_are_none(hidden: Any) -> None:
    with pytest.raises(BadInputError, match="positive whole number"):
        build(3, 5, hidden)


def test_lora_takes_one_width() -> None:
    with pytest.raises(BadInputError, match="one hidden width"):
        build(3, 5, [4, 4], lora=True)
    with pytest.raises(BadInputError, match="its rank"):
        build(3, 5, None, lora=True)


def test_fresh_modules_depend_on_the_generator_alone() -> None:
    form = ProjectionForm()

    def weights(seed: int) -> list[Tensor]:
        modules = seeded_modules(lambda: form.build(3, 5), 2, torch.Generator().manual_seed(seed))
        return [module.weight for module in modules]

    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first = weights(7)
    assert torch.equal(torch.rand(3), expected)
    assert all(map(torch.equal, first, weights(7)))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], weights(8)[0])


def test_one_module_serves_all_depths() -> None:
    modules = nn.ModuleList([nn.Linear(3, 5), nn.Linear(3, 5)])
    context = torch.randn(2, 4, 3)
    each = apply_each(modules, context)
    torch.testing.assert_close(each, torch.stack([modules[k](context[k]) for k in range(2)]))
    torch.testing.assert_close(apply_each(modules[:1], context), modules[0](context))
