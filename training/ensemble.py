"""Several networks, one bundle: the mean of their answers, at the price of all of them.

Where `soup` averages weights, and so takes trainings of one architecture, networks of an ensemble may differ
in size and in what they see; the more they differ, the less they err together (L. K. Hansen, P. Salamon,
"Neural network ensembles", IEEE TPAMI 12 (1990) 993-1001).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from batch_fracture.errors import ConfigError
from training import soup
from training.config import TrainingConfig

if TYPE_CHECKING:
    from batch_fracture.engines.network import ServedNetwork
    from training.inputs import Examples

MAY_DIFFER = (*soup.MAY_DIFFER, "architecture", "auxiliary_weight", "initial_weights", "input_size")
"""What the networks of one model need not have in common."""
_CLOSEST = 64
"""Side, pixels, of the smallest inputs to look closer at: 16 go off each edge."""


def networks(config: TrainingConfig) -> tuple[TrainingConfig, ...]:
    """The recipes of the networks that answer together: its own first, then one for each table of `ensemble`.

    Those look once: it is all of them together that look at the mirror image, or closer.

    Raises:
        ConfigError: such a table changes what all networks must share, a value is not valid, or inputs are
            too small to look closer at.
    """
    if config.closer and config.input_size < _CLOSEST:
        raise ConfigError(
            f"closer = true: input_size = {config.input_size} leaves no middle; {_CLOSEST} is the least"
        )
    if not config.ensemble:
        return (config,)
    own = replace(config, ensemble=(), mirror=False, closer=False)
    alone = replace(own, soup=())
    others = [
        soup.changed(
            alone, changes, key="ensemble", may_differ=MAY_DIFFER, name=f"{own.name}-network-{number}"
        )
        for number, changes in enumerate(config.ensemble, start=2)
    ]
    return (own, *others)


def trainings(config: TrainingConfig) -> tuple[TrainingConfig, ...]:
    """Every training of a recipe: of each network, those whose weights are averaged.

    Raises:
        ConfigError: a table of `ensemble` or `soup` cannot be.
    """
    return tuple(training for network in networks(config) for training in soup.members(network))


def fit_networks(
    config: TrainingConfig,
    seen_by: Callable[[TrainingConfig], tuple[Examples, Examples]],
    *,
    storage: str,
) -> tuple[ServedNetwork, dict[str, Any]]:
    """`soup.fit_all` for each network of a recipe, one after another.

    Args:
        config: the recipe.
        seen_by: gives what a network learns from, and what its epochs are scored on, at its own input size.
        storage: where checkpoints are kept, one folder for each training.

    Returns:
        The networks as one, fp32 on the CPU, and the first one's metrics, with the seconds of all.
    """
    recipes, found = networks(config), []
    for number, recipe in enumerate(recipes, start=1):
        if config.ensemble:
            print(f"network {number} of {len(recipes)}: {recipe.architecture} at {recipe.input_size} pixels")
        train, calibration = seen_by(recipe)
        found.append(soup.fit_all(recipe, train, calibration, storage=storage))
    metrics = {**found[0][1], "trained_s": sum(of["trained_s"] for _, of in found)}
    return together(config, [served for served, _ in found]), metrics


def together(config: TrainingConfig, served: Sequence[ServedNetwork]) -> ServedNetwork:
    """The networks of a recipe as one that answers with their mean, looking as the recipe says."""
    from batch_fracture.engines.network import EnsembleNetwork, ServedNetwork  # noqa: PLC0415 - torch takes seconds

    first, *others = served
    if not others:
        return first
    sizes = [recipe.input_size for recipe in networks(config)[1:]]
    network = EnsembleNetwork([one.network for one in served], sizes)
    return ServedNetwork(
        network, mean=first.mean, std=first.std, mirror=config.mirror, closer=config.closer
    ).eval()
