"""What the curves show: the very points, labels and intervals."""

import numpy as np
import pytest
from labelled import as_scored, drawn_scored
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from training.figures import figures
from training.plots import precision_recall_figure, reliability_figure, roc_figure

OF = drawn_scored()
FOUND = figures(OF)
KINDS = (roc_figure, precision_recall_figure, reliability_figure)


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def marked(figure: Figure) -> list[list[float]]:
    """Where each operating point stands."""
    points = [bars.lines[0] for bars in figure.axes[0].containers]
    return [[float(at) for at in (*point.get_xdata(), *point.get_ydata())] for point in points]


@pytest.mark.parametrize("draw", KINDS)
def test_titles_say_what_was_measured_and_axes_what_they_are(draw: object, tmp_path: object) -> None:
    figure = draw(OF, FOUND, "a $model, a half")
    title = figure.axes[0].get_title()
    assert "a $model, a half" in title
    assert "120 images, 24 fractured, 40 groups; intervals are 95 %" in title
    assert figure.axes[0].get_ylabel()
    assert figure.axes[-1].get_xlabel()
    figure.savefig(tmp_path / "drawn.png")
    assert figure.bbox.width == 900


def test_roc_has_the_curve_and_the_operating_points() -> None:
    figure = roc_figure(OF, FOUND, "")
    across, up, _ = roc_curve(OF.label_N, OF.probability_N, drop_intermediate=False)
    line = figure.axes[0].get_lines()[0]
    np.testing.assert_allclose(line.get_xdata(), across)
    np.testing.assert_allclose(line.get_ydata(), up)
    points = FOUND["operating_points"].values()
    assert marked(figure) == [[1 - at["specificity"]["value"], at["sensitivity"]["value"]] for at in points]
    for bars, at in zip(figure.axes[0].containers, points, strict=True):
        across, up = (collection.get_segments()[0] for collection in bars.lines[2])
        ends = [1 - at["specificity"]["high"], 1 - at["specificity"]["low"]]
        np.testing.assert_allclose(across[:, 0], ends)
        np.testing.assert_allclose(up[:, 1], [at["sensitivity"]["low"], at["sensitivity"]["high"]])
    area = FOUND["auroc"]
    text = f"AUROC {area['value']:.3f} ({area['low']:.3f} to {area['high']:.3f}) by DeLong, ("
    assert text in legend(figure)[0]
    assert [line.partition(":")[0] for line in legend(figure)[2:]] == ["high-sensitivity", "balanced"]


def test_precision_recall_has_the_curve_the_share_and_the_points() -> None:
    figure = precision_recall_figure(OF, FOUND, "")
    precision, recall, _ = precision_recall_curve(OF.label_N, OF.probability_N)
    line = figure.axes[0].get_lines()[0]
    np.testing.assert_allclose(line.get_xdata()[1:], recall[-2::-1])
    np.testing.assert_allclose(line.get_ydata()[1:], precision[-2::-1])
    called_N = OF.probability_N >= 0.5
    expected = [OF.label_N[called_N].sum() / OF.label_N.sum(), OF.label_N[called_N].mean()]
    assert marked(figure)[1] == pytest.approx(expected)
    assert legend(figure)[1] == "chance: 0.200 are fractured"


def test_a_point_that_calls_nothing_has_no_precision() -> None:
    of = as_scored([0, 1, 0, 1, 0, 0], [0.1, 0.3, 0.2, 0.4, 0.1, 0.1])  # none reaches 0.5
    assert len(marked(precision_recall_figure(of, figures(of), ""))) == 1


def test_reliability_has_wilsons_bars_the_counts_and_a_histogram() -> None:
    of = as_scored([0, 1, 0, 1, 1, 0], [0.05, 0.05, 0.05, 0.95, 0.95, 0.05])
    figure = reliability_figure(of, figures(of), "")
    bars = figure.axes[0].containers[0]
    np.testing.assert_allclose(bars.lines[0].get_xydata(), [[0.05, 0.25], [0.95, 1.0]], atol=1e-6)
    # Wilson, 1 of 4 and 2 of 2: 0.0456 to 0.6994, 0.3424 to 1.
    ends = [segment[:, 1].tolist() for segment in bars.lines[2][0].get_segments()]
    np.testing.assert_allclose(ends, [[0.0456, 0.6994], [0.3424, 1.0]], atol=1e-4)
    assert [text.get_text() for text in figure.axes[0].texts] == ["1/4", "2/2"]
    heights = np.array([[bar.get_height() for bar in part] for part in figure.axes[1].containers])
    assert heights.sum(axis=1).tolist() == [3, 3]  # no fracture, fracture
    assert "chance alone makes" in legend(figure)[1]
