"""Cut a graph in two, so that its early layers can be computed in fp32 and the rest in bf16.

Most of what bf16 costs in answers comes from the stem and the first block, whose activations are few: see
docs/performance.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from openvino import Model
from openvino import opset13 as opset

from batch_fracture.errors import ConfigError


def cut(first: Model, second: Model, *, side: int) -> tuple[Model, Model]:
    """The part of a graph up to features of `side` x `side` places, and the rest.

    It is cut where one tensor is all that the rest needs: of those with that side the one with the fewest
    channels, of equal ones the last.

    Args:
        first: the graph, an input (B, S, S).
        second: another copy of it; both are taken apart.
        side: of the features.

    Returns:
        Graphs of the same input, and of the same outputs with their names.

    Raises:
        ConfigError: the graph can be cut nowhere at that side.
    """
    at, index = _narrowest(first, side), _narrowest(second, side)
    shape = index.get_partial_shape()
    features = opset.parameter([-1, *(shape[axis].get_length() for axis in (1, 2, 3))], dtype=np.float32)
    for target in list(index.get_target_inputs()):
        target.replace_source_output(features.output(0))
    return Model([opset.result(at)], first.get_parameters()), Model(second.get_results(), [features])


def _narrowest(model: Model, side: int) -> Any:
    """The output to cut at."""
    found = None
    for output in _bottlenecks(model):
        shape = output.get_partial_shape()
        if shape.rank.get_length() != 4 or shape[2] != side or shape[3] != side:
            continue
        if found is None or shape[1].get_length() <= found.get_partial_shape()[1].get_length():
            found = output
    if found is None:
        raise ConfigError(
            f"this bundle's graph cannot be cut at {side} x {side} places; export it again, or choose "
            "another engine"
        )
    return found


def _bottlenecks(model: Model) -> list[Any]:
    """Outputs that are, when they have just been computed, all that the rest of the graph needs."""
    operations = model.get_ordered_ops()
    place_of = {operation.get_name(): place for place, operation in enumerate(operations)}
    fixed: set[str] = set()
    needed: dict[str, Any] = {}
    until: dict[str, int] = {}
    found: list[Any] = []
    for place, operation in enumerate(operations):
        sources = [given.get_source_output().get_node().get_name() for given in operation.inputs()]
        if operation.get_type_name() == "Constant" or (sources and set(sources) <= fixed):
            fixed.add(operation.get_name())
            continue
        for number, output in enumerate(operation.outputs()):
            name = f"{operation.get_name()}:{number}"
            users = [place_of[target.get_node().get_name()] for target in output.get_target_inputs()]
            needed[name], until[name] = output, max(users, default=-1)
        needed = {name: output for name, output in needed.items() if until[name] > place}
        if len(needed) == 1:
            found += needed.values()
    return found
