"""The frozen towers' activation against the formula and against transformers' module."""

import torch
from transformers.activations import QuickGELUActivation

from models_store.activations import QuickGELU


def test_value_and_gradient_are_those_of_transformers() -> None:
    x = torch.linspace(-12, 12, 4001, requires_grad=True)
    expected, gradient = QuickGELUActivation()(x), torch.linspace(-1, 2, 4001)
    (wanted,) = torch.autograd.grad(expected, x, gradient)
    ours = QuickGELU()(x)
    (got,) = torch.autograd.grad(ours, x, gradient)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-6)


def test_no_memory_is_taken_where_no_gradient_flows() -> None:
    x = torch.randn(8)
    assert QuickGELU()(x).data_ptr() == x.data_ptr()
    taking = torch.randn(8, requires_grad=True)
    with torch.no_grad():
        copy = taking * 1
        assert QuickGELU()(copy).data_ptr() == copy.data_ptr()
