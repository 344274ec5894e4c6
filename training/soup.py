"""Several trainings, one network: the mean of their weights.

Networks that start from the same weights and differ in how they were tuned lie close enough to each other for
the mean of their weights to answer about as well as the mean of their answers, at the price of one network
(M. Wortsman et al., "Model soups", ICML 2022, arXiv 2203.05482). The head is drawn, so `loop` draws the same
one whatever the seed: two trainings with heads of their own had AUROC 0.925 and 0.920, the mean of their
weights 0.760.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from batch_fracture.errors import ConfigError
from training.config import TrainingConfig, config_from

if TYPE_CHECKING:
    import torch

    from batch_fracture.engines.network import ServedNetwork
    from training.inputs import Examples

MAY_DIFFER = (
    *("augmentation", "balance", "batch_size", "batchnorm", "box_weight", "drop_path_rate", "drop_rate"),
    *("ema_decay", "epochs", "frozen_stages", "layer_decay", "learning_rate", "mixup", "positive_weight"),
    *("score_every", "seed", "warmup_epochs", "weight_decay"),
)
"""What the trainings of one model need not have in common."""


def members(config: TrainingConfig) -> tuple[TrainingConfig, ...]:
    """The trainings of a recipe, its own first, then one for each table of `soup`.

    Raises:
        ConfigError: such a table changes what all trainings must share, or a value is not valid.
    """
    own = replace(config, soup=())
    others = [
        changed(own, changes, key="soup", may_differ=MAY_DIFFER, name=f"{own.name}-training-{number}")
        for number, changes in enumerate(config.soup, start=2)
    ]
    return (own, *others)


def changed(
    own: TrainingConfig, changes: Any, *, key: str, may_differ: Sequence[str], name: str
) -> TrainingConfig:
    """A recipe with some of its keys changed.

    Args:
        own: the recipe.
        changes: the table that says so.
        key: of such tables, for messages.
        may_differ: the keys that it may hold.
        name: of the changed recipe.

    Raises:
        ConfigError: it is no table, holds another key, or a value is not valid.
    """
    if not isinstance(changes, dict):
        raise ConfigError(f"{key} = [{changes!r}]: each must be a table, [[{key}]]")
    if foreign := sorted(set(changes) - set(may_differ)):
        raise ConfigError(f"{key}.{foreign[0]}: the tables of {key} may change {', '.join(may_differ)}")
    table = asdict(own)
    augmentation = table["augmentation"] | changes.get("augmentation", {})
    try:
        return config_from({**table, **changes, "augmentation": augmentation, "name": name})
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}") from error


def fit_all(
    config: TrainingConfig, train: Examples, calibration: Examples, *, storage: str
) -> tuple[ServedNetwork, dict[str, Any]]:
    """`fit.fit` for each training of a recipe, one after another, and the mean of their weights.

    Args:
        config: the recipe.
        train: what the networks learn from.
        calibration: as for `fit.fit`.
        storage: where checkpoints are kept, one folder for each training.

    Returns:
        The network, fp32 on the CPU, and the first training's metrics, with the seconds of all.
    """
    from training.fit import fit  # noqa: PLC0415 - torch and ray take seconds to import

    found = []
    for number, member in enumerate(members(config), start=1):
        if config.soup:
            print(f"training {number} of {len(config.soup) + 1}: {member.name}")
        found.append(fit(member, train, calibration, storage=storage))
    served, metrics = found[0]
    if config.soup:
        served.load_state_dict(mean_of([one.state_dict() for one, _ in found]))
    return served, {**metrics, "trained_s": sum(of["trained_s"] for _, of in found)}


def mean_of(states: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The mean of each tensor; counters, which are no floats, as the first has them."""
    return {
        name: sum(state[name].double() for state in states).div(len(states)).to(first.dtype)  # type: ignore[union-attr]
        if first.is_floating_point()
        else first
        for name, first in states[0].items()
    }
