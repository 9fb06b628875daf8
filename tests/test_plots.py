import io
from collections.abc import Callable
from typing import Any

import keras
import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection, PolyCollection, QuadMesh
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle
from matplotlib.patches import Polygon, Rectangle

from tests.function_models import SQUARED_ERROR, with_encoder
from tests.function_models import function_model as model
from tests.samples import batches, normal, uniform
from tfae import plots
from tfae.losses import AbsoluteError, BinaryCrossentropy

matplotlib.use("Agg")

from matplotlib import pyplot as plt

pytestmark = pytest.mark.usefixtures("no_figure_left_behind")


def encoding_model(latent_dim: int) -> keras.Model:
    """An autoencoder of six features whose latent is the first of them."""
    return with_encoder(lambda x: x, lambda x: x[:, :latent_dim], (6,))


THREE, ROWS, CODED = model(lambda x: x, (3,)), uniform(3, 6), encoding_model(2)
IDENTITY, OF_IMAGES = model(lambda x: x, (6,)), model(lambda x: x, (5, 4, 1))


def draw(figure: Any) -> None:
    """Draw for print; a missing glyph or a layout that collapses would warn, which is an error."""
    figure.savefig(io.BytesIO(), format="pdf")


def pairs(x: Any, reconstruction: Any, **options: Any) -> Figure:
    """Samples beside what one model makes of them."""
    return plots.side_by_side(x, {"reconstruction": reconstruction}, **options)


def image(ax: Axes) -> np.ndarray:
    (shown,) = ax.images
    return np.asarray(shown.get_array())


def heights(ax: Axes) -> list[np.ndarray]:
    return [np.asarray(line.get_ydata()) for line in ax.lines]


def texts(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


def legend_texts(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def scatter_of(ax: Axes) -> PathCollection:
    (scatter,) = ax.collections
    assert isinstance(scatter, PathCollection)
    return scatter


def colors_of(ax: Axes) -> list[str]:
    return [to_hex(color) for color in np.asarray(scatter_of(ax).get_facecolor())]


def points(ax: Axes) -> np.ndarray:
    return np.asarray(scatter_of(ax).get_offsets())


def in_order(rows: np.ndarray) -> np.ndarray:
    """The order of samples is for the eye; compare them sorted by the first column."""
    return rows[np.argsort(rows[:, 0])]


def test_images_are_shown_above_their_reconstructions_and_errors_which_share_a_scale_from_0_and_a_colour_bar() -> None:
    x = uniform(6, 5, 4, 1)
    axes = plots.reconstructions(model(lambda x: 0.5 * x, (5, 4, 1)), batches(x), num_samples=5)
    assert axes.shape == (3, 5)
    for k in range(5):
        expected = [x[k, ..., 0] * factor for factor in (1, 0.5, 0.5)]
        np.testing.assert_allclose([image(ax) for ax in axes[:, k]], expected, rtol=1e-6)
        assert axes[0, k].get_title() == f"loss {(x[k].astype('float64') ** 2).sum() / 4:.4g}"
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["original", "reconstruction", "error"]
    assert {ax.images[0].get_clim() for ax in axes[:2].flat} == {(0, 1)}
    assert [ax.images[0].get_clim() for ax in axes[2]] == [(0, pytest.approx(x[:5].max() / 2))] * 5
    assert [len(ax.child_axes) for ax in axes.flat] == [0] * 14 + [1]
    assert axes[2, 4].child_axes[0].get_ylabel() == "|x − x̂|,\nmodel space"
    draw(axes[0, 0].figure)


def scaled(x: np.ndarray, of: np.ndarray) -> np.ndarray:
    """On the scale of other images, per channel."""
    low, high = of.min((0, 1, 2)), of.max((0, 1, 2))
    return np.clip((x - low) / (high - low), 0, 1)


LOGITS, WIDE = BinaryCrossentropy(from_logits=True), np.array([3.0, 0.1, 5.0]) * (6 * uniform(2, 5, 4, 3) - 3)


# What is shown of originals and reconstructions; colours where there are three or four channels, else their mean.
@pytest.mark.parametrize(
    ("x", "reconstruct", "loss", "shown"),
    [
        (uniform(2, 5, 4, 1), lambda x: 4 * x, LOGITS, lambda x, y: (x, 1 / (1 + np.exp(-y)))),
        *(
            (2 * uniform(2, 5, 4, n) - 1, lambda x: x - 0.5, SQUARED_ERROR, lambda x, y: ((x + 1) / 2, (y + 1) / 2))
            for n in (3, 4)
        ),
        *((uniform(2, 5, 4, n), lambda x: x[..., ::-1], SQUARED_ERROR, lambda x, y: (x, y)) for n in (2, 7)),
        (WIDE, lambda x: 2 * x, SQUARED_ERROR, lambda x, y: (scaled(x, WIDE), scaled(y, WIDE))),
    ],
    ids=["logits", "colour from -1 to 1", "with alpha", "two channels", "seven channels", "standardised"],
)
def test_images_are_shown_on_the_scale_of_the_originals(x, reconstruct, loss, shown) -> None:
    axes = plots.reconstructions(model(reconstruct, x.shape[1:], loss), batches(x))
    originals, reconstructions = shown(x, reconstruct(x))
    error = np.abs(originals - reconstructions) if loss is LOGITS else np.abs(x - reconstruct(x))
    for ax, images in zip(axes[:2, 1], (originals, reconstructions), strict=True):
        expected = images[1] if images.shape[3] in (3, 4) else images[1].mean(-1)
        np.testing.assert_allclose(image(ax), np.clip(expected, 0, 1), atol=1e-5)
    np.testing.assert_allclose(image(axes[2, 1]), error[1].mean(-1), atol=1e-5)


def test_constant_and_exact_images_can_be_drawn() -> None:
    for value in (0, 5):
        axes = plots.reconstructions(OF_IMAGES, batches(np.full((2, 5, 4, 1), value)))
        assert image(axes[2, 0]).max() == 0
        draw(axes[0, 0].figure)


def rows_and_columns(axes: np.ndarray) -> list[tuple[int, int]]:
    return [(spec.rowspan.start, spec.colspan.start) for spec in (ax.get_subplotspec() for ax in axes)]


@pytest.mark.parametrize(("num_samples", "columns"), [(1, 1), (8, 8), (10, 10), (11, 6), (64, 10)])
def test_more_than_ten_images_go_on_below_on_a_figure_of_its_own(num_samples: int, columns: int) -> None:
    axes = plots.reconstructions(OF_IMAGES, batches(uniform(64, 5, 4, 1)), num_samples=num_samples)
    assert axes.shape == (3, num_samples)
    for row in range(3):
        assert rows_and_columns(axes[row]) == [(4 * (k // columns) + 1 + row, k % columns) for k in range(num_samples)]
    assert [ax.get_ylabel() for ax in axes[2]] == ["error" if k % columns == 0 else "" for k in range(num_samples)]
    assert [k for k in range(num_samples) if axes[2, k].child_axes] == [columns - 1]
    width, height = axes[0, 0].figure.get_size_inches()
    assert width < 13
    assert height == pytest.approx(0.1 + (3 * 1.15 + 0.21) * -(-num_samples // columns))


@pytest.mark.parametrize(("shape", "xlabel"), [((50, 1), "time step"), ((2, 2, 2, 2), "element")])
def test_others_are_drawn_as_lines_with_the_error_shaded(shape: tuple[int, ...], xlabel: str) -> None:
    x = uniform(3, *shape)
    axes = plots.reconstructions(model(lambda x: 0.5 * x, shape, AbsoluteError()), batches(x))
    assert axes.shape == (3,)
    for k, ax in enumerate(axes):
        np.testing.assert_allclose(heights(ax), [x[k].ravel(), x[k].ravel() / 2], rtol=1e-6)
        assert [isinstance(shade, PolyCollection) for shade in ax.collections] == [True]
        assert ax.get_title(loc="left") == f"loss {x[k].astype('float64').sum() / 2:.4g}"
    # The second column ends a row higher.
    assert [ax.get_xlabel() for ax in axes] == ["", xlabel, xlabel]
    assert legend_texts(axes[0]) == ["original", "reconstruction"]
    assert len(axes[0].figure.axes) == 3
    draw(axes[0].figure)


def test_channels_of_a_sequence_are_drawn_one_below_the_other() -> None:
    x = uniform(2, 20, 3)
    axes = plots.reconstructions(model(lambda x: x, (20, 3), AbsoluteError()), batches(x))
    originals = heights(axes[0])[:3]
    assert len(axes[0].lines) == 6
    for channel, line in enumerate(originals):
        np.testing.assert_allclose(line + channel * np.ptp(x), x[0, :, channel], atol=1e-5)
    assert originals[0].min() >= originals[1].max() >= originals[2].max()


def tick_labels(ax: Axes) -> list[str]:
    return [label.get_text() for label in ax.get_xticklabels()]


def segments(ax: Axes) -> np.ndarray:
    """(features, 2): where the line between original and reconstruction begins and ends."""
    (lines,) = ax.collections
    assert isinstance(lines, LineCollection)
    return np.array([np.asarray(segment)[:, 1] for segment in lines.get_segments()])


def test_rows_of_a_table_are_unjoined_points_with_the_error_between_them() -> None:
    x = uniform(3, 7)
    axes = plots.reconstructions(model(lambda x: 0.5 * x, (7,), AbsoluteError()), batches(x))
    assert axes.shape == (3,)
    for k, ax in enumerate(axes):
        np.testing.assert_allclose(heights(ax), [x[k], x[k] / 2], rtol=1e-6)
        assert [line.get_linestyle() for line in ax.lines] == ["None", "None"]
        assert ax.lines[1].get_markerfacecolor() == "none"
        np.testing.assert_allclose(segments(ax), np.transpose([x[k], x[k] / 2]), rtol=1e-6)
        assert ax.get_title(loc="left") == f"loss {x[k].astype('float64').sum() / 2:.4g}"
    assert [ax.get_ylabel() for ax in axes] == ["model space", "", "model space"]
    assert [ax.get_xlabel() for ax in axes] == ["", "feature", "feature"]
    assert legend_texts(axes[0]) == ["original", "reconstruction"]
    draw(axes[0].figure)


def test_features_are_on_a_scale_each_in_data_space_and_reconstructions_far_off_are_arrows() -> None:
    x = np.array([[1, 100, 10000], [3, 100, 20000], [2, 100, 50000]])
    reconstruction = x + np.array([[1, -20, 10000]])
    axes = pairs(x, reconstruction, feature_names=["a", "b", "c"]).axes
    deviation = np.array([(2 / 3) ** 0.5, 100, x[:, 2].std()])  # a constant has its magnitude
    np.testing.assert_allclose([heights(ax)[0] for ax in axes], (x - x.mean(0)) / deviation)
    for ax in axes:
        np.testing.assert_allclose(np.diff(segments(ax))[:, 0], np.array([1, -20, 10000]) / deviation)
    assert [ax.get_ylabel() for ax in axes] == [y := "standard deviations\nfrom the mean", "", y]
    assert axes[1].get_title(loc="left") == "sample 2\nlargest error: a, 3 → 4"
    assert len({ax.get_ylim() for ax in axes}) == 1
    draw(axes[0].figure)
    x = np.array([[0.0, 10], [1, 20]])
    first, second = pairs(x, x + np.array([[0, 1e6], [-1e6, 0]])).axes
    assert -2.5 < first.get_ylim()[0] < -1 < 1 < first.get_ylim()[1] < 2.5
    for ax, marker, place in ((first, "^", 1), (second, "v", 0)):
        assert [(line.get_marker(), *np.asarray(line.get_xdata())) for line in ax.lines[2:-1]] == [(marker, place)]


def test_features_are_in_deviations_of_the_training_split_so_that_a_nearly_constant_one_stays_on_the_chart() -> None:
    x = np.array([[1.0, 5.0], [2.0, 5.001]])
    options: dict[str, Any] = {"moments": ([1, 4], [2, 0.5]), "scores": [3, 4], "names": ["test 7\nrow 9", "test 8"]}
    axes = pairs(x, x + np.array([[1, 0.1]]), feature_names=["age", "dose"], **options).axes
    np.testing.assert_allclose(np.stack([heights(ax)[0] for ax in axes]), [[0.0, 2.0], [0.5, 2.002]])
    np.testing.assert_allclose(np.diff(segments(axes[0]))[:, 0], [0.5, 0.2])
    assert axes[0].get_ylabel() == "standard deviations\nfrom the training mean"
    assert axes[0].get_title(loc="left") == "test 7, row 9, loss 3\nlargest error: age, 1 → 2".replace("loss", "score")
    assert [len(ax.lines) for ax in axes] == [3, 3]  # with the line of the mean, and no arrow
    draw(axes[0].figure)


@pytest.mark.parametrize("shape", [(5, 4, 1), (6,), (20, 2)])
def test_two_pictures_are_on_one_scale(shape: tuple[int, ...]) -> None:
    x, worse = uniform(2, *shape), 3 * uniform(2, *shape, seed=1)
    of_both = np.concatenate([x, worse]), np.concatenate([x + 0.01, worse + 1.0])
    moments = [0] * shape[0], [1] * shape[0]
    figures = [pairs(*of_both, drawn=drawn, moments=moments) for drawn in (slice(2), slice(2, None))]
    if len(shape) == 3:
        scales = {each.axes[-1].images[0].get_clim() for each in figures}
        assert next(iter(scales)) == (0, pytest.approx(1))
    else:
        scales = {ax.get_ylim() for each in figures for ax in each.axes}
    assert len(scales) == 1
    assert all(len(each.axes) == (6 if len(shape) == 3 else 2) for each in figures)


@pytest.mark.parametrize(
    ("losses", "scale"),
    [
        ([31, 2, 1], "log"),
        ([29, 2, 1], "linear"),
        ([31, 1, 0], "linear"),
        ([31, -1], "linear"),
        ([99, np.nan, 1], "log"),
    ],
)
def test_losses_over_more_than_one_and_a_half_decades_are_drawn_on_a_logarithmic_scale(losses: Any, scale: str) -> None:
    ax = plots.training_curves({"loss": losses, "val_loss": losses}, ax=Figure().subplots())
    assert ax.get_yscale() == scale
    draw(ax.figure)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([0.0, np.nan, 1.0], ["0", "1", "missing"]),
        ([b"cat", None, "d\xf6g"], ["cat", "dög", "missing"]),
        ([None, 1, 0], ["0", "1", "missing"]),
        ([float("nan"), "a", b"\xff"], ["a", "missing", "�"]),
        (["x" * 40, "y", "y"], ["x" * 14 + "…" + "x" * 15, "y"]),
        ([True, False, True], ["False", "True"]),
    ],
)
def test_classes_are_named_whatever_their_labels_are(labels: list, names: list[str]) -> None:
    ax = plots.latents(
        CODED,
        batches(uniform(12, 6)),
        labels=np.array(labels * 4, object if None in labels or b"\xff" in labels else None),
    )
    assert legend_texts(ax) == names
    draw(ax.figure)


def test_a_single_row_shows_errors_relative_to_its_values() -> None:
    (ax,) = pairs([[-4.0, 200, 0]], [[-3.0, 210, 0.1]]).axes
    np.testing.assert_allclose(segments(ax), [[0, 0.25], [0, 0.05], [0, 0.1]])
    draw(ax.figure)


def test_feature_names_stand_below_the_lowest_panels_and_many_are_thinned() -> None:
    names = ["age", "income per year", "a name of more than twenty letters"]
    used = plots.reconstructions(THREE, batches(uniform(3, 3)), num_samples=3, feature_names=names)
    assert tick_labels(used[0]) == ["", "", ""]
    assert tick_labels(used[2]) == ["age", "income per year", "a name o…y letters"]
    assert {label.get_rotation() for label in used[2].get_xticklabels()} == {45}
    assert tick_labels(used[1]) == tick_labels(used[2])
    draw(used[0].figure)
    x = uniform(2, 64)
    ax = pairs(x, x, feature_names=[f"f{k}" for k in range(64)]).axes[0]
    assert tick_labels(ax) == [f"f{k}" for k in range(0, 64, 4)]
    np.testing.assert_array_equal(ax.get_xticks(), range(0, 64, 4))


def test_samples_are_the_first_ones_whatever_the_batch_size() -> None:
    x = uniform(20, 6)
    for batch_size in (2, 20):
        axes = plots.reconstructions(IDENTITY, batches(x, batch_size), num_samples=5)
        np.testing.assert_allclose([ax.lines[0].get_ydata() for ax in axes], x[:5])


def test_masked_time_steps_are_not_in_the_loss_of_the_title() -> None:
    inputs = keras.Input((3, 2))
    halves = keras.layers.Activation(lambda x: x / 2)
    autoencoder = keras.Model(inputs, halves(keras.layers.Masking(-1.0)(inputs)))
    autoencoder.compile(loss=AbsoluteError())
    x = np.ones((1, 3, 2))
    x[:, 2] = -1
    assert plots.reconstructions(autoencoder, batches(x))[0].get_title(loc="left") == "loss 2"


def test_raw_images_are_on_the_scale_of_their_dtype_and_fewer_wide_ones_are_side_by_side() -> None:
    x = np.array([[[[51], [102]]], [[[0], [204]]]], "uint8")
    figure = pairs(x, x + np.float32(25.5), scores=np.array([1.5, 2]), score_name="loss")
    axes = np.array(figure.axes, object).reshape(3, 2)
    expected = [[[0.2, 0.4]], [[0.3, 0.5]], [[25.5, 25.5]]]
    np.testing.assert_allclose([image(ax) for ax in axes[:, 0]], expected)
    assert [ax.get_title() for ax in axes[0]] == ["loss 1.5", "loss 2"]
    assert axes[2, 1].child_axes[0].get_ylabel() == "|x − x̂|,\nunits of the data"
    assert plt.get_fignums() == []
    draw(figure)
    x = uniform(5, 4, 16, 1)
    figure = pairs(x, x)
    assert {column for _, column in rows_and_columns(np.array(figure.axes, object))} == {0, 1}
    draw(figure)


def test_curves_are_drawn_by_epoch_from_1_and_the_best_is_marked() -> None:
    ax = plots.training_curves({"loss": [9, 5, 4, 3], "val_loss": [8, 6, 5.5, 7], "accuracy": [0, 1, 1, 1]})
    training, validation, best = ax.lines
    np.testing.assert_array_equal(training.get_data(), ([1, 2, 3, 4], [9, 5, 4, 3]))
    np.testing.assert_array_equal(validation.get_data(), ([1, 2, 3, 4], [8, 6, 5.5, 7]))
    np.testing.assert_array_equal(best.get_data(), ([3], [5.5]))
    assert best.get_color() == validation.get_color()
    assert ax.get_title() == "best epoch 3, validation loss 5.5"
    assert texts(ax) == ["training", "validation"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "loss")
    draw(ax.figure)


def test_the_best_epoch_is_that_of_the_training_loss_without_validation_resumed_epochs_included() -> None:
    ax = plots.training_curves({"loss": np.array([9.0, 3.0, np.nan])}, ax=(given := Figure().subplots()))
    assert ax is given
    assert ax.get_title() == "best epoch 2, training loss 3"
    assert texts(ax) == ["training"]
    assert plt.get_fignums() == []
    history = keras.callbacks.History()
    history.epoch, history.history = [7, 8, 9], {"loss": [3.0, 1.0, 2.0]}
    ax = plots.training_curves(history)
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), [8, 9, 10])
    assert ax.get_title() == "best epoch 9, training loss 1"
    as_in_history_csv = {"epoch": [8.0, 9.0, 10.0], "loss": [3.0, 1.0, 2.0]}
    assert plots.training_curves(as_in_history_csv).get_title() == "best epoch 9, training loss 1"
    ax = plots.training_curves({"loss": [np.nan, np.nan]})
    assert ax.get_title() == ""
    draw(ax.figure)


def test_latents_of_two_dimensions_are_drawn_as_they_are() -> None:
    x = uniform(10, 6)
    ax = plots.latents(CODED, batches(x))
    np.testing.assert_allclose(in_order(points(ax)), in_order(x[:, :2]))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("latent 1", "latent 2")
    draw(ax.figure)


def wide_model() -> keras.Model:
    """An autoencoder of six features whose 3,000 latents are the first four of them, rotated."""
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3000, 4)))[0].T.astype("float32")
    return with_encoder(lambda x: x, lambda x: x[:, :4] @ rotation, (6,))


@pytest.mark.parametrize("make", [lambda: encoding_model(4), wide_model])
def test_latents_of_more_dimensions_are_drawn_as_principal_components_with_their_shares(make: Any) -> None:
    x = uniform(30, 6) * [1, 5, 2, 9, 1, 1]
    ax = plots.latents(make(), batches(x))
    centred = (x[:, :4] - x[:, :4].mean(0)).astype("float64")
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    expected = centred @ directions[:2].T
    shares = singular**2 / (singular**2).sum()
    for k, label in enumerate((ax.get_xlabel(), ax.get_ylabel())):  # either sign
        errors = [np.abs(np.sort(sign * points(ax)[:, k]) - np.sort(expected[:, k])).max() for sign in (1, -1)]
        assert min(errors) < 1e-4
        assert label == f"principal component {k + 1} ({shares[k]:.0%} of the variance)"
    assert np.abs(points(plots.latents(wide_model(), batches(x[:2])))[:, 1]).max() < 1e-3
    ax = plots.latents(encoding_model(3), batches(np.ones((5, 6))))
    assert ax.get_xlabel() == "principal component 1 (0% of the variance)"
    draw(ax.figure)


def test_latents_of_one_dimension_are_drawn_in_a_row_per_class() -> None:
    x = uniform(10, 6)
    labels = np.arange(10) % 2
    ax = plots.latents(encoding_model(1), batches(x), labels=labels)
    along, across = points(ax).T
    for row in (0, 1):
        np.testing.assert_allclose(np.sort(along[np.abs(across - row) < 0.5]), np.sort(x[labels == row, 0]))
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["0", "1"]
    assert ax.get_legend() is None
    draw(ax.figure)


@pytest.mark.parametrize(
    "labels", [np.arange(12) % 3, np.arange(12) % 3 * 1.0, np.array(list("abc") * 4), np.array([b"a", b"b", b"c"] * 4)]
)
def test_few_classes_get_a_colour_a_marker_and_a_legend(labels: np.ndarray) -> None:
    x = uniform(12, 6)
    ax = plots.latents(CODED, batches(x), labels=labels)
    shapes = [np.shape(path.vertices)[0] for path in scatter_of(ax).get_paths()]
    for place, color, shape in zip(points(ax), colors_of(ax), shapes, strict=True):
        k = int(np.abs(x[:, :2] - place).sum(1).argmin()) % 3
        assert color == plots.COLORS[k]
        assert shape == [np.shape(MarkerStyle(marker).get_path().vertices)[0] for marker in "o^s"][k]
    legend: Any = ax.get_legend()
    keys = [(key.get_color(), key.get_marker()) for key in legend.get_lines()]
    assert keys == list(zip(plots.COLORS, "o^s", strict=False))
    assert legend_texts(ax) == (["0", "1", "2"] if labels.dtype.kind in "if" else ["a", "b", "c"])
    draw(ax.figure)


@pytest.mark.parametrize("labels", [np.arange(12), np.linspace(0, 1, 12), np.arange(12) % 2 + 0.5])
def test_many_numbers_and_fractions_get_a_colour_bar(labels: np.ndarray) -> None:
    ax = plots.latents(CODED, batches(uniform(12, 6)), labels=labels, ax=Figure().subplots())
    x = uniform(12, 6)[:, :2]
    for place, value in zip(points(ax), np.asarray(ax.collections[0].get_array()), strict=True):
        assert value == pytest.approx(labels[np.abs(x - place).sum(1).argmin()])
    assert [other.get_ylabel() for other in ax.figure.axes[1:]] == ["label"]
    assert ax.figure.axes[1].get_ylim() == (labels.min(), labels.max())
    assert ax.get_legend() is None
    assert plt.get_fignums() == []


def test_rare_names_beyond_ten_are_one_grey_class() -> None:
    labels = [f"class {k:02}" for k in [*range(2, 12), *range(12)]]
    ax = plots.latents(CODED, batches(uniform(22, 6)), labels=labels)
    assert legend_texts(ax) == ["2 others", *[f"class {k:02}" for k in range(2, 12)]]
    assert colors_of(ax).count("#dddddd") == 2
    ax = plots.latents(CODED, batches(uniform(21, 6)), labels=labels[:10] + labels[11:])
    assert legend_texts(ax)[0] == "1 other"


def test_no_class_is_drawn_over_the_others_however_labels_are_ordered() -> None:
    labels = np.repeat([0, 1, 2], 100)
    ax = plots.latents(CODED, batches(uniform(300, 6)), labels=labels)
    colors = np.array(colors_of(ax))
    for half in (colors[:150], colors[150:]):
        assert all(30 < np.count_nonzero(half == color) < 70 for color in plots.COLORS[:3])
    again = plots.latents(CODED, batches(uniform(300, 6)), labels=labels)
    np.testing.assert_array_equal(points(ax), points(again))


def test_many_points_are_smaller_and_fainter_than_their_colour_bar() -> None:
    few, many = (scatter_of(plots.latents(CODED, batches(uniform(n, 6), 1000))) for n in (100, 20000))
    assert few.get_alpha() == 1
    assert 0.3 < float(many.get_alpha() or 1) < 0.6
    assert few.get_sizes()[0] == 36
    assert 4 < many.get_sizes()[0] < 6
    assert many.get_rasterized()
    ax = plots.latents(CODED, batches(uniform(3000, 6), 1000), labels=np.arange(3000))
    draw(ax.figure)
    (scale,) = [c for c in ax.figure.axes[1].collections if isinstance(c, QuadMesh)]
    assert float(scatter_of(ax).get_alpha() or 1) < 1
    assert np.asarray(scale.get_facecolor())[:, 3].min() == 1


@pytest.mark.parametrize("distinct", [30, 20])
def test_names_of_samples_are_no_classes(distinct: int) -> None:
    labels = np.array([f"sample {min(k, distinct)}" for k in range(30)])
    ax = plots.latents(CODED, batches(uniform(30, 6)), labels=labels)
    assert ax.get_legend() is None
    assert set(colors_of(ax)) == {plots.COLORS[0]}
    times = np.datetime64("2024-01-01") + np.arange(30)
    ax = plots.latents(encoding_model(1), batches(uniform(30, 6)), labels=times)
    assert len(ax.get_yticks()) == 0
    assert plots.score_histogram(np.arange(30), labels=labels).get_legend() is None


@pytest.mark.parametrize(("stretch", "aspect"), [(1, 1), (1.2, 1), (3, "auto"), (1 / 3, "auto")])
def test_scales_are_equal_unless_that_would_leave_the_page_empty(stretch: float, aspect: object) -> None:
    x = np.concatenate([np.eye(6)[:2], np.zeros((1, 6))]) * [stretch, 1, 1, 1, 1, 1]
    assert plots.latents(CODED, batches(x)).get_aspect() == aspect


def test_histogram_counts_every_sample_and_marks_median_and_99th_percentile() -> None:
    scores = np.random.default_rng(0).lognormal(size=500)
    ax = plots.score_histogram(scores, score_name="loss per sample, nats")
    assert sum(bar.get_height() for bar in ax.patches if isinstance(bar, Rectangle)) == 500
    assert texts(ax) == [f"median {np.median(scores):.4g}", f"99th percentile {np.percentile(scores, 99):.4g}"]
    assert [np.asarray(line.get_xdata())[0] for line in ax.lines] == [np.median(scores), np.percentile(scores, 99)]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("loss per sample, nats", "samples")
    draw(ax.figure)


def test_classes_of_unequal_size_and_missing_labels_are_outlined_as_shares_over_the_same_bins() -> None:
    scores = np.concatenate([np.linspace(0, 1, 90), np.linspace(2, 3, 10)])
    ax = plots.score_histogram(scores, labels=[False] * 90 + [True] * 10, ax=(given := Figure().subplots()))
    assert ax is given
    assert legend_texts(ax) == ["False", "True"]
    outlines = [np.asarray(outline.get_xy()) for outline in ax.patches if isinstance(outline, Polygon)]
    np.testing.assert_allclose(outlines[0][:, 0], outlines[1][:, 0])
    for outline in outlines:  # two points per bin, the first and the last at height 0
        assert outline[1:-1:2, 1].sum() == pytest.approx(1)
    ax = plots.score_histogram([1, 2, 3, 4], labels=np.array(["a", None, "a", None]), ax=Figure().subplots())
    assert set(legend_texts(ax)) == {"a", "missing"}
    assert plt.get_fignums() == []


@pytest.mark.parametrize(
    "scores", [[1.0], [2.0] * 9, [0.0] * 90 + [1.0], [*np.linspace(0, 1, 1000), 1e9], [0.0, 1e-30]]
)
def test_histogram_of_extreme_scores_has_a_readable_number_of_bins(scores: list[float]) -> None:
    ax = plots.score_histogram(scores)
    assert 10 <= len(ax.patches) <= 60
    draw(ax.figure)


def test_a_plot_without_axes_opens_one_figure_for_the_notebook() -> None:
    figures = [
        plots.reconstructions(IDENTITY, batches(uniform(3, 6)))[0].figure,
        plots.score_histogram([1.0, 2.0]).figure,
    ]
    assert [plt.figure(number) for number in plt.get_fignums()] == figures


NAMES = "feature_names: expected 3, one per feature; received"
NUMBERS = r"scores: expected finite numbers of shape \(num_samples,\)"
HISTORY = 'history: expected a non-empty list "loss"'
LABELS = r"labels: expected shape \(3,\)"
NONE_LIKE_X = "reconstructions: expected one or more, of the shape of x"
REFUSALS: list[tuple[Callable, str]] = [
    (lambda: pairs(np.zeros((0, 3)), np.zeros((0, 3))), NONE_LIKE_X),
    (lambda: pairs(np.zeros((2, 3)), np.zeros((2, 4))), NONE_LIKE_X),
    (lambda: pairs(np.zeros((2, 3)), np.zeros((2, 3)), scores=[1]), r"scores: expected shape \(2,\).*received \(1,\)"),
    (lambda: pairs(ROWS[:, :3], ROWS[:, :3], feature_names=["a", "b"]), f"{NAMES} 2"),
    (lambda: plots.reconstructions(THREE, batches(ROWS[:, :3]), feature_names=list("abcd")), f"{NAMES} 4"),
    (lambda: plots.reconstructions(model(lambda x: x, (6,), None), batches(ROWS)), "compiled with a loss of"),
    (lambda: plots.reconstructions(model(lambda x: x, (6,), "mse"), batches(ROWS)), "compiled with a loss of"),
    (lambda: plots.reconstructions(IDENTITY, batches(ROWS), num_samples=0), "num_samples: expected 1 or more; .* 0"),
    (lambda: plots.reconstructions(IDENTITY, batches(ROWS).take(0)), "dataset: expected at least one sample"),
    (lambda: plots.reconstructions(IDENTITY, batches(ROWS).map(lambda x, _: x)), r"dataset: expected batches \(x, x\)"),
    (lambda: plots.training_curves({}), HISTORY),
    (lambda: plots.training_curves({"loss": []}), HISTORY),
    (lambda: plots.training_curves({"val_loss": [1.0]}), HISTORY),
    (lambda: plots.latents(CODED, batches(ROWS), labels=range(4)), rf"{LABELS}, one per sample; received \(4,\)"),
    (lambda: plots.latents(CODED, batches(ROWS[:1])), "dataset: expected two samples or more"),
    (lambda: plots.latents(CODED, batches(ROWS * np.nan)), "autoencoder: expected finite latents"),
    (lambda: plots.latents(IDENTITY, batches(ROWS)), 'no sub-model named "encoder"'),
    (lambda: plots.score_histogram([]), NUMBERS),
    (lambda: plots.score_histogram([1.0, np.nan]), NUMBERS),
    (lambda: plots.score_histogram([np.inf]), NUMBERS),
    (lambda: plots.score_histogram(np.ones((1, 2))), NUMBERS),
    (lambda: plots.score_histogram(np.float64(3)), NUMBERS),
    (lambda: plots.score_histogram([1.0, 2.0, 3.0], labels=[0, 1]), LABELS),
    (lambda: plots.side_by_side(np.zeros((2, 3)), {}), NONE_LIKE_X),
    (lambda: plots.side_by_side(np.zeros((2, 3)), {"mse": np.zeros((1, 3))}), NONE_LIKE_X),
]


@pytest.mark.parametrize(("drawing", "message"), REFUSALS)
def test_what_can_not_be_drawn_is_refused_and_leaves_no_figure(drawing: Callable, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        drawing()
    assert plt.get_fignums() == []


def test_images_have_a_row_of_reconstructions_and_one_of_errors_for_each_model():
    x = uniform(3, 5, 4, 1)
    figure = plots.side_by_side(x, {"squared_error": x / 2, "absolute_error": x / 4})
    axes = np.array(figure.axes).reshape(5, 3)
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["original", "squared error", "error", "absolute error", "error"]
    for k in range(3):
        expected = [x[k, ..., 0] * factor for factor in (1, 0.5, 0.5, 0.25, 0.75)]
        np.testing.assert_allclose([image(ax) for ax in axes[:, k]], expected, rtol=1e-6)
    assert [ax.images[0].get_clim() for ax in axes[(2, 4),].flat] == [(0, pytest.approx(0.75 * x.max()))] * 6
    draw(figure)


def test_rows_of_a_table_share_a_panel_on_the_scale_of_each_feature():
    x = np.array([[0.0, 100.0], [1.0, 300.0]])
    figure = plots.side_by_side(x, {"a": x, "b": x + np.array([0.25, 50.0])}, feature_names=("height", "weight"))
    assert len(figure.axes) == 2
    for ax, original in zip(figure.axes, (0, 1), strict=True):
        np.testing.assert_allclose(
            heights(ax)[:3], 2 * np.array([[original] * 2, [original] * 2, [original + 0.25] * 2]) - 1
        )
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["original", "a", "b"]
    assert tick_labels(figure.axes[0]) == ["height", "weight"]
    draw(figure)


@pytest.mark.parametrize("shape", [(3, 30, 1), (2, 20, 3), (3, 1), (1, 4), (2, 2, 3, 4, 5)])
def test_sequences_and_samples_of_any_rank_are_drawn(shape):
    x = normal(*shape)
    figure = plots.side_by_side(x, {f"model_{k}": x + k for k in range(4)})
    draw(figure)
    assert len(figure.axes) == shape[0]
    assert plt.get_fignums() == []
