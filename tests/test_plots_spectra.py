import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.figures import drawn
from tfae import plots

matplotlib.use("Agg")

from matplotlib import pyplot as plt

pytestmark = pytest.mark.usefixtures("no_figure_left_behind")


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape)


def line(ax: Axes, name: str) -> np.ndarray:
    (found,) = (each for each in ax.lines if each.get_label() == name)
    return np.asarray(found.get_ydata())


def test_white_noise_has_the_power_of_its_variance_at_all_frequencies():
    frequency, power = plots.radial_power(3 * noise(400, 16, 16, 2))
    np.testing.assert_allclose(power, 9, rtol=0.05)
    assert frequency[0] == pytest.approx((1 / 16 * 4 + 2**0.5 / 16 * 4) / 8)  # by hand: ring 1 holds 8 frequencies
    assert frequency[-1] == pytest.approx(2**0.5 / 2, rel=0.1)


def test_a_wave_has_all_of_its_power_at_its_frequency_in_whatever_direction():
    y, x = np.mgrid[:20, :20]
    for wave in (np.cos(2 * np.pi * x / 5), np.cos(2 * np.pi * y / 5)):
        frequency, power = plots.radial_power(wave[None, ..., None])
        assert abs(frequency[power.argmax()] - 1 / 5) < 1 / 40
        assert np.delete(power, power.argmax()).max() < 1e-20


@pytest.mark.parametrize("shape", [(3, 9, 9, 1), (2, 8, 13, 3)])
def test_power_times_the_number_of_frequencies_is_the_energy_about_the_mean(shape):
    images = noise(*shape) + 5
    height, width = shape[1:3]
    radius = np.sqrt(np.fft.fftfreq(height)[:, None] ** 2 + np.fft.fftfreq(width)[None] ** 2)
    counts = np.unique(np.round(radius * min(height, width)), return_counts=True)[1][1:]
    _, power = plots.radial_power(images)
    # Parseval, but for the ring at the middle, which for wide images holds more than the mean.
    near = np.round(radius * min(height, width)) == 0
    spectrum = np.abs(np.fft.fft2(images, axes=(1, 2))) ** 2
    kept = spectrum[:, ~near].sum() / (height * width) / (shape[0] * shape[3])
    np.testing.assert_allclose((power * counts).sum(), kept, rtol=1e-10)


def test_images_of_a_constant_have_no_power():
    _, power = plots.radial_power(np.full((2, 8, 8, 1), 7.0))
    assert power.max() < 1e-20


def test_a_blur_lies_below_the_originals_at_high_frequencies_only():
    x = noise(50, 16, 16, 1)
    blurred = (x + np.roll(x, 1, 1) + np.roll(x, 1, 2) + np.roll(x, (1, 1), (1, 2))) / 4
    ax = plots.spectra(x, {"squared_error": blurred}, ax=Figure().subplots())
    ratio = line(ax, "squared error") / line(ax, "original")
    # |H|² of that mean by hand, cos²(πf) in each direction: nearly 1 at the lowest frequency, 0 in the corner.
    assert ratio[0] > 0.9
    assert ratio[-2] < 0.05
    assert np.isnan(ratio[-1])
    assert ax.get_yscale() == "log"
    drawn(ax.figure)


def test_flat_reconstructions_are_left_out_and_flat_originals_drawn():
    x = noise(4, 8, 8, 1)
    ax = plots.spectra(x, {"flat": np.zeros_like(x)}, ax=Figure().subplots())
    assert np.isnan(line(ax, "flat")).all()
    drawn(ax.figure)
    drawn(plots.spectra(np.ones_like(x), {"flat": np.zeros_like(x)}, ax=Figure().subplots()).figure)
    assert plt.get_fignums() == []


def test_without_axes_a_spectrum_makes_a_figure_that_notebooks_show():
    plots.spectra(noise(1, 8, 8, 1), {})
    assert len(plt.get_fignums()) == 1


@pytest.mark.parametrize("shape", [(3, 8, 8), (0, 8, 8, 1), (3, 1, 8, 1)])
def test_spectra_of_what_is_no_image_are_refused(shape):
    with pytest.raises(ValueError, match=r"images: expected shape \(num_images, height, width, channels\)"):
        plots.radial_power(np.zeros(shape))


def test_spectra_of_unlike_shapes_are_refused():
    with pytest.raises(ValueError, match=r"reconstructions: expected the shape of x, \(2, 8, 8, 1\); received"):
        plots.spectra(np.zeros((2, 8, 8, 1)), {"mse": np.zeros((1, 8, 8, 1))}, ax=Figure().subplots())


def test_images_have_a_row_of_reconstructions_and_one_of_errors_for_each_model():
    x = np.random.default_rng(0).random((3, 5, 4, 1))
    figure = plots.side_by_side(x, {"squared_error": x / 2, "absolute_error": x / 4})
    axes = np.array(figure.axes).reshape(5, 3)
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["original", "squared error", "error", "absolute error", "error"]
    for k in range(3):
        expected = [x[k], x[k] / 2, x[k] / 2, x[k] / 4, 3 * x[k] / 4]
        for ax, image in zip(axes[:, k], expected, strict=True):
            np.testing.assert_allclose(ax.images[0].get_array(), image[..., 0])
    limits = {ax.images[0].get_clim() for ax in axes[(2, 4),].flat}
    assert limits == {(0, 0.75 * x.max())}
    drawn(figure)


def test_bytes_are_black_at_0_and_white_at_255():
    x = np.full((1, 8, 8, 1), 51, "uint8")
    figure = plots.side_by_side(x, {"mse": np.full((1, 8, 8, 1), 102.0)})
    assert [float(ax.images[0].get_array().max()) for ax in figure.axes[:2]] == pytest.approx([0.2, 0.4])


def test_rows_of_a_table_share_a_panel_on_the_scale_of_each_feature():
    x = np.array([[0.0, 100.0], [1.0, 300.0]])
    figure = plots.side_by_side(x, {"a": x, "b": x + np.array([0.25, 50.0])}, feature_names=("height", "weight"))
    assert len(figure.axes) == 2
    for ax, original in zip(figure.axes, [[0, 0], [1, 1]], strict=True):
        first, second, third = (np.asarray(each.get_ydata()) for each in ax.lines[:3])
        np.testing.assert_allclose(first, original)
        np.testing.assert_allclose(second, original)
        np.testing.assert_allclose(third, np.add(original, 0.25))
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["original", "a", "b"]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["height", "weight"]
    drawn(figure)


@pytest.mark.parametrize("shape", [(3, 30, 1), (2, 20, 3), (3, 1), (1, 4), (2, 2, 3, 4, 5)])
def test_sequences_and_samples_of_any_rank_are_drawn(shape):
    x = noise(*shape)
    figure = plots.side_by_side(x, {f"model_{k}": x + k for k in range(4)})
    drawn(figure)
    assert len(figure.axes) == (1 if shape[1:] == (1,) else shape[0])
    assert plt.get_fignums() == []


def test_side_by_side_refuses_unlike_shapes_and_nothing():
    for reconstructions in ({}, {"mse": np.zeros((1, 3))}):
        with pytest.raises(ValueError, match=r"reconstructions: expected one or more, of the shape of x"):
            plots.side_by_side(np.zeros((2, 3)), reconstructions)
