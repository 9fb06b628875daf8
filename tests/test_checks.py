import contextlib
import functools
import re
from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras import layers, ops
from scipy import optimize

from tests.commands import begin, run
from tests.samples import GROWING
from tfae import checks, datasets, evaluation, export, models, runs, training
from tfae.activations import Clip
from tfae.checks.layers import output_of
from tfae.losses import AbsoluteError, BinaryCrossentropy, ReconstructionLoss, SquaredError

pytestmark = pytest.mark.usefixtures("without_pictures")
SHAPE = (6,)
LOSSES: dict[str, Callable[..., ReconstructionLoss]] = {
    "squared": SquaredError,
    "absolute": AbsoluteError,
    "probabilities": BinaryCrossentropy,
    "logits": functools.partial(BinaryCrossentropy, from_logits=True),
}
IMAGES = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 1)).astype("uint8")
probabilities, logits = LOSSES["probabilities"](), LOSSES["logits"]()


def rows(low, high, n=40):
    values = np.random.default_rng(0).uniform(low, high, (n, *SHAPE))
    values[:2], values[2:4] = low, high
    return values


@pytest.fixture(scope="module")
def standard():
    return datasets.load(rows(-3, 5), preprocessing="standard", batch_size=128)


@pytest.fixture(scope="module")
def unit():
    return datasets.load(rows(0, 1), preprocessing="unit", value_range=(0, 1), batch_size=128)


@pytest.fixture(scope="module")
def sequences():
    return datasets.load(padded(0.0))


def ending(*last, shape=SHAPE):
    return keras.Sequential([keras.Input(shape), *last])


def dense(activation="linear", **arguments):
    return models.dense(SHAPE, latent_dim=2, widths=(4,), output_activation=activation, **arguments)


class Sampling(layers.Layer):
    """The latent of a variational autoencoder, with its KL divergence as a loss."""

    def __init__(self):
        super().__init__()
        self.seed_generator = keras.random.SeedGenerator(0)

    def call(self, mean):
        self.add_loss(ops.mean(ops.sum(mean**2, axis=1) / 2))
        return mean + keras.random.normal(ops.shape(mean), seed=self.seed_generator)


@pytest.mark.parametrize("build", [models.dense, models.convolutional])
@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("options", [{}, {"bottleneck": models.Sparse(0.1)}, {"input_noise": 0.1}])
def test_what_tfae_builds_for_a_loss_passes(build, kind, options):
    loss = LOSSES[kind]()
    data = datasets.load(IMAGES)
    model = build(data.shape, latent_dim=2, output_activation=loss.output_activation(data.output_range), **options)
    checks.check(data, loss, model)
    checks.check(None, loss, model)


@pytest.mark.parametrize("method", ["unit", "symmetric", "standard", "none"])
def test_what_the_loss_names_for_the_data_passes_under_each_preprocessing(method):
    loss, data = SquaredError(), datasets.load(IMAGES, preprocessing=method)
    ranges = {"unit": Clip(0, 1), "symmetric": Clip(-1, 1), "none": Clip(0, 255)}
    activation = ranges.get(method, "linear")
    assert loss.output_activation(data.output_range) == activation
    model = models.dense(data.shape, latent_dim=2, widths=(4,), output_activation=activation)
    checks.check(data, loss, model)


def test_a_mean_over_elements_passes_without_a_penalty_or_with_one_on_the_weights(standard):
    for loss in (SquaredError, AbsoluteError):
        checks.check(standard, loss(sample_reduction="mean"), dense(input_noise=0.1))
    model = ending(layers.Dense(6, kernel_regularizer="l2", bias_regularizer="l1"))
    checks.check(None, SquaredError(sample_reduction="mean"), model)


def test_a_sigmoid_reaches_unit_data_and_a_tanh_symmetric_data_or_moved_to_zero_to_one_unit_data(unit):
    checks.check(unit, SquaredError(), dense("sigmoid"))
    checks.check(unit, SquaredError(), dense("relu"))
    checks.check(datasets.load(rows(-3, 5), preprocessing="symmetric"), SquaredError(), dense("tanh"))
    checks.check(unit, probabilities, ending(layers.Dense(6, "tanh"), layers.Rescaling(0.5, 0.5)))
    with pytest.raises(ValueError, match="ends in tanh, whose output spans"):
        checks.check(unit, probabilities, ending(layers.Dense(6, "tanh")))


def test_a_test_split_outside_of_zero_to_one_is_no_mistake_of_the_model_but_refused_under_cross_entropy():
    splits = {"train": rows(0, 1), "validation": rows(0.1, 0.9), "test": rows(-0.1, 1.1)}
    data = datasets.load(splits, preprocessing="unit")
    checks.check(data, SquaredError(), dense("sigmoid"))
    with pytest.raises(ValueError, match=r"the test split spans .*and value_range=\(-0\.1, 1\.1\)"):
        checks.check(data, logits, dense())


@keras.saving.register_keras_serializable("tests")
class Penalty(layers.Layer):
    """Adds the squares of the latent as a reduction makes a number of them."""

    def __init__(self, reduction, **kwargs):
        super().__init__(**kwargs)
        self.reduction = reduction

    def call(self, x):
        self.add_loss(self.reduction(ops.sum(x**2, axis=1)))
        return x


undefined = r"BinaryCrossentropy is defined on \[0\.0, 1\.0\]; the train split spans \[-"
squeezed = r"ends in sigmoid, which read so keeps reconstructions in \[0\.5, 0\.7311\]"
# Each case: name of the check, data, loss, model, what the message says.
FAILING = {
    "domain": ("standard", logits, dense(), undefined),
    "range": ("standard", SquaredError(), dense("tanh"), r"spans \[-.*ends in tanh, which keeps them in \[-1, 1\]"),
    "activation": ("unit", probabilities, dense(), r"ends in linear, whose output spans \(-inf, inf\)"),
    "logits": ("unit", logits, dense("sigmoid"), squeezed),
    "loss": ("unit", "mse", dense(), r"received loss='mse'.*loss=tfae\.losses\.SquaredError\(\)\)"),
    "tied": (
        "unit",
        SquaredError(),
        dense("softmax"),
        r"ends in softmax, which ties those of a sample together.*differs .* by up to \d",
    ),
    "masking": (
        "sequences",
        SquaredError(),
        ending(layers.Masking(), layers.LSTM(3, return_sequences=True), layers.Dense(2), shape=(7, 2)),
        r"masks, 0; received training samples padded with 0, of which preprocessing \"standard\" makes -\S+ to -",
    ),
    "penalty": (
        "unit",
        SquaredError(),
        ending(Penalty(ops.sum), layers.Dense(6)),
        "grows with the size of the batch",
    ),
    "reduction": (
        "unit",
        SquaredError(sample_reduction="mean"),
        dense(bottleneck=models.Sparse(0.3)),
        r"weighs 6 times as much.* divide the weight by 6 \(l1=0\.3 in layer 'sparse' becomes 0\.05\)",
    ),
}


@pytest.mark.parametrize("name", FAILING)
def test_each_mistake_is_refused_alone_and_can_be_silenced_by_its_name(name, request):
    data, loss, model, message = FAILING[name]
    data = request.getfixturevalue(data)
    with pytest.raises(ValueError, match=message) as refusal:
        checks.check(data, loss, model)
    assert f'silence this with ignore=["{name}"].' in str(refusal.value)
    assert str(refusal.value).count("silence") == 1
    checks.check(data, loss, model, ignore=[name])
    checks.check(data, loss, model, ignore=name)
    with pytest.raises(ValueError, match=message):
        checks.check(data, loss, model, ignore=set(checks.NAMES) - {name})


# What "loss" stands for, training and evaluation refuse whether or not it is ignored.
@pytest.mark.parametrize("name", ["domain", "activation", "reduction"])
def test_what_is_silenced_is_trained_and_evaluated_to_the_end(name, request, tmp_path):
    keras.utils.set_random_seed(0)  # With some weights, all of its rectifiers are off.
    data, loss, model, _ = FAILING[name]
    data, model = request.getfixturevalue(data), keras.models.clone_model(model)
    trained = runs.train(model, data, loss=loss, run_dir=tmp_path / "run", epochs=1, verbose=0, ignore=[name])
    found = {finding.name for finding in trained.evaluation.findings}
    assert np.isfinite(trained.evaluation.loss)
    assert ("outside_domain" in found) == (name in ("domain", "activation"))
    assert len(evaluation.scores(trained.autoencoder, data.test, ignore=name)) == len(data.raw.test)


def test_without_being_silenced_data_and_output_have_to_stay_in_the_domain(standard, unit):
    keras.utils.set_random_seed(0)  # With some weights, all of its rectifiers are off.
    outside, linear = dense(), dense()
    outside.compile(loss=logits)
    linear.compile(loss=probabilities)
    linear.set_weights([100 * weight for weight in linear.get_weights()])
    for measure in (evaluation.evaluate, evaluation.scores):
        with pytest.raises(ValueError, match=r'dataset: .*silence this with ignore=\["domain"\]'):
            measure(outside, standard.test, ignore=["activation"])
    result = evaluation.evaluate(outside, standard.test, train=standard.train_from(0), ignore=["domain"])
    assert (result.constant_loss, result.linear_loss) == (None, None)  # There is no lower bound.
    assert result.reasons["constant_loss"].startswith("the training split leaves [0.0, 1.0]")
    with pytest.raises(ValueError, match=r'autoencoder: .*silence this with ignore=\["activation"\]'):
        evaluation.scores(linear, unit.test, ignore=["domain"])


def test_evaluate_refuses_an_output_that_can_not_reach_the_training_split(standard):
    model = dense("tanh")
    model.compile(loss=SquaredError())
    with pytest.raises(ValueError, match=r"spans \[-.* in model space; .*ends in tanh.*ignore=\[\"range\"\]"):
        evaluation.evaluate(model, standard.test, train=standard.train_from(0))
    assert evaluation.evaluate(model, standard.test, train=standard.train_from(0), ignore="range").loss > 0
    assert evaluation.evaluate(model, standard.test).train_loss is None


def test_the_command_evaluates_what_it_is_told_to_ignore(standard, tmp_path):
    np.save(tmp_path / "outside.npy", rows(-3, 5))
    np.save(tmp_path / "unit.npy", rows(0, 1))
    data = datasets.load(tmp_path / "unit.npy", preprocessing="none")
    runs.train(dense(), data, loss=logits, run_dir=tmp_path / "run", epochs=1, verbose=0)
    arguments = ["evaluate", tmp_path / "run", tmp_path / "outside.npy"]
    assert "silence this with --ignore domain." in run(*arguments, code=2).stderr
    assert "outside domain: Samples are from -3 to 5" in run(*arguments, "--ignore", "domain").stdout


@pytest.mark.parametrize("name", FAILING)
def test_loss_and_model_can_be_checked_without_data_but_for_what_needs_it(name):
    _, loss, model, message = FAILING[name]
    expected = pytest.raises(ValueError, match=message)
    with contextlib.nullcontext() if name in ("domain", "range", "tied", "masking") else expected:
        checks.check(None, loss, model)


def test_all_mistakes_are_listed_at_once_but_none_that_another_explains(standard):
    with pytest.raises(ValueError, match="defined on") as refusal:
        checks.check(
            standard,
            BinaryCrossentropy(sample_reduction="mean"),
            dense("linear", bottleneck=models.Sparse(1.0)),
        )
    lines = str(refusal.value).splitlines()
    assert [line.rpartition("ignore=")[2] for line in lines] == ['["domain"].', '["activation"].', '["reduction"].']
    # Outside of [0, 1] a sigmoid is not blamed for what cross-entropy can not take.
    with pytest.raises(ValueError, match="defined on") as refusal:
        checks.check(standard, probabilities, dense("sigmoid"))
    assert "ends in" not in str(refusal.value)


def test_an_unknown_name_is_an_error_that_lists_the_names():
    message = rf"which are {', '.join(checks.NAMES)}; received 'ranges'\."
    for ignore in ("ranges", ["range", "ranges"]):
        with pytest.raises(ValueError, match=message):
            checks.check(None, SquaredError(), dense(), ignore=ignore)


@pytest.mark.parametrize(
    ("loss", "counterpart"),
    [
        (keras.losses.MeanSquaredError(), r"SquaredError\(\)\)"),
        (keras.losses.mean_absolute_error, r"AbsoluteError\(\)\)"),
        ("MAE", r"AbsoluteError\(\)\)"),
        ("binary_crossentropy", r"BinaryCrossentropy\(\)\)"),
        (keras.losses.BinaryCrossentropy(from_logits=True), r"BinaryCrossentropy\(from_logits=True\)\)"),
        (keras.losses.Huber(), r"Huber\(\)\)"),
        (keras.losses.CategoricalCrossentropy(from_logits=True), r"CategoricalCrossentropy\(from_logits=True\)\)"),
        ("categorical_crossentropy", r"CategoricalCrossentropy\(\)\)"),
        (keras.losses.Poisson(), r"Poisson\(from_log_rates=False\)\)"),
        (keras.losses.LogCosh(), r"SquaredError\(\), or another of tfae\.losses"),
        (["mse"], r"SquaredError\(\), or"),
        (lambda x, y: 0.0, r"SquaredError\(\), or"),
        (None, r"received loss=None"),
    ],
)
def test_losses_of_others_are_refused_with_their_counterpart(loss, counterpart):
    with pytest.raises(ValueError, match=rf"(?s)^loss: expected a model compiled with a loss of tfae.*{counterpart}"):
        checks.check(None, loss, dense())


def test_reconstructions_that_a_rectifier_keeps_above_the_data_are_refused(unit, standard):
    with pytest.raises(ValueError, match=r"ends in relu, which keeps them in \[0, inf\)"):
        checks.check(standard, SquaredError(), dense("relu"))
    with pytest.raises(ValueError, match=r"which keeps them in \[0\.5, 1\]"):  # sigmoid(z) of z ≥ 0
        checks.check(unit, logits, dense("relu"))


@pytest.mark.parametrize(
    ("activation", "data", "remedy"),
    [
        ("tanh", "standard", r'activation="linear", or use preprocessing="symmetric"\.'),
        ("sigmoid", "standard", r'ends in sigmoid, .* or use preprocessing="unit"\.'),
        ("elu", "standard", r'ends in elu, .* End it in activation="linear"\. To'),
        ("sigmoid", "images", r'in sigmoid, .*=tfae\.activations\.Clip\(-1, 1\), or .*preprocessing="unit"'),
    ],
)
def test_the_remedy_names_the_preprocessing_that_fits_the_activation(activation, data, remedy, standard):
    data = standard if data == "standard" else datasets.load(IMAGES, preprocessing="symmetric")
    model = models.dense(data.shape, latent_dim=2, output_activation=activation)
    with pytest.raises(ValueError, match=remedy):
        checks.check(data, SquaredError(), model)


@pytest.mark.parametrize(
    "penalised",
    [
        lambda: ending(layers.Dense(2, activity_regularizer=keras.regularizers.L1(0.3)), layers.Dense(6)),
        lambda: ending(layers.Dense(2), layers.ActivityRegularization(l2=0.3), layers.Dense(6)),
        lambda: keras.Sequential([keras.Input(SHAPE), dense(bottleneck=models.Sparse(0.3))]),
    ],
)
def test_a_penalty_on_the_latent_is_found_wherever_it_is(penalised):
    with pytest.raises(ValueError, match=r"beside the penalty.*l[12]=0\.3 in layer '.*' becomes 0\.05\)"):
        checks.check(None, SquaredError(sample_reduction="mean"), penalised(), ignore=GROWING)
    checks.check(None, SquaredError(), penalised(), ignore=GROWING)


def test_a_kl_divergence_that_a_layer_adds_is_found_and_no_random_state_is_moved():
    model = functional(lambda latent: layers.Dense(6)(Sampling()(latent)))
    model.compile("sgd", loss=SquaredError(sample_reduction="mean"))
    state = np.array(model.layers[2].seed_generator.state.value)
    with pytest.raises(
        ValueError, match=r"divide the weight by 6, unless you chose it for the mean, and ignore the check\."
    ):
        checks.check(None, model.loss, model)
    np.testing.assert_array_equal(model.layers[2].seed_generator.state.value, state)
    assert model.losses == []
    x = np.zeros((4, *SHAPE), "float32")
    assert np.isfinite(model.fit(x, x, verbose=0).history["loss"]).all()


class Scaled(layers.Dense):
    def call(self, inputs):
        return 3 * super().call(inputs)


class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.last = layers.Dense(6, "sigmoid")

    def call(self, inputs):
        return self.last(inputs)


class Trained(keras.Model):
    """A functional model with a training step of its own."""

    def train_step(self, data):
        return super().train_step(data)


def functional(last, cls=keras.Model):
    inputs = keras.Input(SHAPE)
    return cls(inputs, last(layers.Dense(6)(inputs)))


# The least value of z · sigmoid(z).
DIP = optimize.minimize_scalar(lambda z: z / (1 + np.exp(-z)), bounds=(-5, 0), method="bounded").fun


def nested(last):
    """A functional model that ends in a sequential one, that ends in a functional one."""
    inputs = keras.Input(SHAPE)
    return keras.Model(inputs, keras.Sequential([layers.Dense(6), functional(last)])(inputs))


@pytest.mark.parametrize(
    ("model", "name", "low", "high"),
    [
        (dense("sigmoid"), "sigmoid", 0, 1),
        (dense(Clip(-2, 3)), "Clip", -2, 3),
        (functional(Clip(0, 1)), "Clip", 0, 1),
        (models.convolutional((8, 8, 1), latent_dim=2, output_activation="tanh"), "tanh", -1, 1),
        (ending(layers.Dense(6, "sigmoid")), "sigmoid", 0, 1),
        (ending(layers.Dense(6, "sigmoid"), layers.Activation("linear")), "sigmoid", 0, 1),
        (ending(layers.Dense(6, "tanh"), layers.Reshape((3, 2)), layers.Dropout(0.5)), "tanh", -1, 1),
        (ending(layers.Dense(6, "sigmoid"), layers.Rescaling(255)), "sigmoid and Rescaling", 0, 255),
        (ending(layers.Dense(6, "tanh"), layers.Rescaling(-0.5, 0.5)), "tanh and Rescaling", 0, 1),
        (ending(layers.Dense(6), layers.ReLU(max_value=6)), "ReLU", 0, 6),
        (ending(layers.Dense(6), layers.LeakyReLU()), "LeakyReLU", -np.inf, np.inf),
        (ending(layers.Dense(6, layers.ReLU())), "ReLU", 0, np.inf),
        (ending(layers.Dense(6, "softplus")), "softplus", 0, np.inf),
        (ending(layers.Dense(6, "silu")), "silu", DIP, np.inf),
        (ending(layers.Dense(6, "softmax")), "softmax", 0, 1),
        (ending(layers.Dense(6, "hard_sigmoid")), "hard_sigmoid", 0, 1),
        (ending(layers.Dense(6)), "linear", -np.inf, np.inf),
        (ending(layers.LSTM(2, return_sequences=True), shape=(3, 2)), "tanh", -1, 1),
        (ending(layers.TimeDistributed(layers.Dense(2, "sigmoid")), shape=(3, 2)), "sigmoid", 0, 1),
        (ending(layers.TimeDistributed(ending(layers.Dense(2, "tanh"), shape=(2,))), shape=(3, 2)), "tanh", -1, 1),
        (functional(ops.sigmoid), "sigmoid", 0, 1),
        (functional(lambda x: ops.reshape(ops.tanh(x), (-1, 3, 2))), "tanh", -1, 1),
        (functional(layers.Activation("sigmoid"), Trained), "sigmoid", 0, 1),
        (nested(layers.Activation("sigmoid")), "sigmoid", 0, 1),
        (nested(layers.Reshape((3, 2))), "linear", -np.inf, np.inf),
        (functional(ending(layers.Rescaling(2.0))), "linear and Rescaling", -np.inf, np.inf),
        (ending(dense("tanh"), ending(layers.Reshape((3, 2)))), "tanh", -1, 1),
    ],
)
def test_the_activation_that_bounds_a_model_is_found(model, name, low, high):
    output = output_of(model)
    assert output is not None
    assert output.name == name
    np.testing.assert_allclose([output.low, output.high], [low, high], atol=1e-5)


@pytest.mark.parametrize(
    "model",
    [
        Own(),
        ending(layers.Rescaling(0.0)),
        ending(layers.Dense(6, "tanh"), layers.Rescaling(0.0)),
        ending(layers.Dense(6), layers.BatchNormalization()),
        ending(layers.Dense(6, "sigmoid"), layers.Lambda(lambda x: 2 * x)),
        ending(Scaled(6, "sigmoid")),
        ending(layers.Dense(6, layers.PReLU())),
        ending(layers.Dense(6, "glu")),
        ending(layers.Dense(6, "sparsemax")),
        functional(lambda x: ops.sigmoid(x) + ops.tanh(x)),
        functional(lambda x: layers.Add()([x, layers.Activation("sigmoid")(x)])),
        keras.Sequential([layers.Dense(6, "sigmoid")]),
    ],
)
@pytest.mark.parametrize("kind", LOSSES)
def test_a_model_that_does_not_tell_its_range_is_taken_to_be_right(model, kind, unit):
    assert output_of(model) is None
    checks.check(unit, LOSSES[kind](), model)
    checks.check(None, LOSSES[kind](sample_reduction="mean"), model)


def test_export_refuses_what_does_not_fit_and_can_be_told_not_to(standard, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "publish", lambda directory, write: directory / "1")
    model = dense("tanh")
    model.compile("adam", loss=SquaredError())
    with pytest.raises(ValueError, match="ends in tanh"):
        export.save(model, tmp_path, data=standard)
    assert export.save(model, tmp_path, data=standard, ignore=["range"]).name == "1"
    assert export.save(model, tmp_path, data=standard.describe(), preprocessing=standard.preprocessing).name == "1"


@pytest.mark.parametrize("reduction", [lambda penalties: penalties, ops.sum])
def test_a_penalty_that_grows_with_the_batch_is_refused_and_its_mean_is_not(standard, reduction):
    checks.check(standard, SquaredError(), ending(Penalty(ops.mean), layers.Dense(6)))
    with pytest.raises(ValueError, match=r"grows with the size of the batch, of layer 'summed'.*keras\.ops\.mean"):
        checks.check(standard, SquaredError(), ending(Penalty(reduction, name="summed"), layers.Dense(6)))
    inner = keras.Sequential([keras.Input(SHAPE), Penalty(reduction, name="summed")], name="encoder")
    with pytest.raises(ValueError, match="of layer 'encoder/summed'"):
        checks.check(standard, SquaredError(), ending(inner, layers.Dense(6)))


def distributions(*shape, axis=-1):
    """Samples that sum to 1 along an axis."""
    samples = np.random.default_rng(0).random((100, *shape))
    return samples / samples.sum(axis=axis, keepdims=True)


def standardized(width):
    samples = np.random.default_rng(0).normal(size=(100, width))
    return (samples - samples.mean(axis=1, keepdims=True)) / samples.std(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("last", "samples"),
    [
        ([layers.Dense(6, "softmax")], distributions(6)),
        ([layers.Softmax()], distributions(6)),
        ([layers.Activation("softmax"), layers.Dropout(0.1)], distributions(6)),
        ([layers.Dense(6, "softmax"), layers.Reshape((3, 2))], distributions(6).reshape(-1, 3, 2)),
        ([layers.Reshape((3, 2)), layers.Softmax(axis=1)], distributions(3, 2, axis=1)),
        ([layers.Reshape((3, 2)), layers.Softmax(axis=2)], distributions(3, 2)),
        ([layers.Reshape((3, 2)), layers.TimeDistributed(layers.Dense(2, "softmax"))], distributions(3, 2)),
        ([layers.Dense(6, "log_softmax")], np.log(distributions(6))),
        ([layers.UnitNormalization()], np.sqrt(distributions(6))),
        ([layers.LayerNormalization()], standardized(6)),
    ],
)
def test_a_last_layer_that_ties_elements_is_refused_unless_the_samples_are_tied_so(last, samples):
    model = ending(layers.Dense(6), *last)
    variables = [np.array(variable) for variable in model.variables]
    tied, independent = (
        datasets.load(each, preprocessing="none") for each in (samples, np.random.default_rng(1).random(samples.shape))
    )
    for loss in (SquaredError(), AbsoluteError()):
        with pytest.raises(ValueError, match=r"ties those of a sample together.*differs from training samples by"):
            checks.check(independent, loss, model, ignore=["range"])
        checks.check(tied, loss, model)
    np.testing.assert_equal([np.array(variable) for variable in model.variables], variables)


@pytest.mark.parametrize(
    "last", [ops.softmax, functools.partial(ops.softmax, axis=1), ops.normalize, layers.UnitNormalization()]
)
def test_operations_that_tie_elements_are_refused_too(last, unit):
    with pytest.raises(ValueError, match="which ties those of a sample together"):
        checks.check(unit, SquaredError(), functional(last))


def padded(value, width=2):
    sequences = np.random.default_rng(0).normal(5, 2, (60, 7, width))
    sequences[::2, 4:] = value
    return sequences


def masked(value, width=2):
    layer = layers.Masking(value)
    return ending(layer, layers.LSTM(3, return_sequences=True), layers.Dense(width), shape=(7, width))


def is_masked(model, data):
    return evaluated(model, data).reasons.get("constant_loss") == "the model masks elements"


def test_padding_that_scaling_moves_from_under_the_mask_is_refused():
    for padding, value in ((0.0, 0.0), (-1.0, -1.0), (0.0, 9.0)):
        with pytest.raises(ValueError, match=rf"masks, {value:g}; .* padded with {padding:g}, .*\"standard\" makes -"):
            checks.check(datasets.load(padded(padding)), SquaredError(), masked(value))
    for value in (0.0, -1.0):
        data = datasets.load(padded(value), preprocessing="none")
        checks.check(data, SquaredError(), masked(value))
        assert is_masked(masked(value), data)
    # Nothing is padded, and so nothing is masked.
    data = datasets.load(np.random.default_rng(0).normal(5, 2, (60, 7, 2)))
    checks.check(data, SquaredError(), masked(0.0))
    assert not is_masked(masked(0.0), data)


@pytest.mark.parametrize("method", ["standard", "unit", "symmetric"])
def test_padding_that_scaling_makes_one_number_of_can_be_masked_by_that_number(method):
    sequences = padded(0.0, width=1) - 20
    sequences[::2, 4:] = 0
    data = datasets.load(sequences, preprocessing=method)
    with pytest.raises(ValueError, match=r"or use keras\.layers\.Masking\((\S+)\)\.") as refusal:
        checks.check(data, SquaredError(), masked(0.0, width=1))
    number = float(re.search(r"Masking\((\S+)\)\. To go on", str(refusal.value))[1])
    checks.check(data, SquaredError(), masked(number, width=1))
    assert is_masked(masked(number, width=1), data)


def test_indices_that_scaling_moves_from_under_the_mask_are_refused():
    indices = np.random.default_rng(0).integers(1, 9, (60, 7)).astype("float32")
    indices[::2, 4:] = 0
    model = ending(layers.Embedding(9, 3, mask_zero=True), layers.LSTM(3), layers.Dense(7), shape=(7,))
    with pytest.raises(ValueError, match=r"masks, 0; .*Load indices with preprocessing=\"none\"\."):
        checks.check(datasets.load(indices), SquaredError(), model)
    checks.check(datasets.load(indices, preprocessing="none"), SquaredError(), model)


def evaluated(model, data):
    model.compile(loss=SquaredError())
    return evaluation.evaluate(model, data.test, train=data.train_from(0))


def test_compile_makes_the_checks_of_train(standard):
    with pytest.raises(ValueError, match=r"BinaryCrossentropy is defined on \[0\.0, 1\.0\]"):
        training.compile(dense("sigmoid"), probabilities, standard, epochs=1)
    training.compile(dense("sigmoid"), probabilities, standard, epochs=1, ignore=["domain"])
    with pytest.raises(ValueError, match=r"data: expected what tfae\.datasets\.load returns; received ndarray"):
        training.compile(dense(), SquaredError(), rows(0, 1), epochs=1)
    with pytest.raises(ValueError, match="epochs: expected an integer of at least 1; received None"):
        training.compile(dense(), SquaredError(), standard, epochs=None)


#: Tables, and the preprocessing under which cross-entropy is not defined on them.
OUTSIDE = {
    "in it already": (rows(0, 1), "standard"),
    "in it already, but for other splits": (np.random.default_rng(0).random((40, 6)), "unit"),
    "outside": (np.random.default_rng(0).normal(size=(40, 6)), "standard"),
    "outside, not scaled": (rows(-3, 5), "none"),
    "images": (IMAGES, "standard"),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_the_remedies_of_the_domain_lead_out_of_it_in_python_and_on_the_command_line(name, tmp_path):
    x, method = OUTSIDE[name]
    model = models.dense(x.shape[1:], latent_dim=2, widths=(4,))
    with pytest.raises(ValueError, match="is defined on") as refusal:
        checks.check(datasets.load(x, preprocessing=method), logits, model)
    message = str(refusal.value)
    assert 'SquaredError (loss="mse") or AbsoluteError (loss="mae"), or use' in message
    options = re.search(r"or use (preprocessing=[^;]*?)(?:, since .*?)?\. To", message)[1]
    checks.check(datasets.load(x, **eval(f"dict({options.replace(' and ', ', ')})")), logits, model)
    for other in (SquaredError(), AbsoluteError()):
        checks.check(datasets.load(x, preprocessing=method), other, model)
    np.save(tmp_path / "x.npy", x)
    command = [tmp_path / "x.npy", "--loss", "bce", "--epochs", 1, "--widths", 4, "--run-dir", tmp_path / "run"]
    message = run("train", *command, "--preprocessing", method, code=2).stderr
    assert "Choose SquaredError (--loss mse) or AbsoluteError (--loss mae), or use --" in message
    options = re.search(r"or use (--preprocessing .*?)(?:, since .*?)?\. To", message)[1]
    begin(*command, *options.replace(" and ", " ").split())


def test_the_remedies_of_the_reduction_lead_out_of_it_in_python_and_on_the_command_line(unit, tmp_path):
    mean, sparse = SquaredError(sample_reduction="mean"), functools.partial(models.Sparse)
    np.save(tmp_path / "x.npy", rows(0, 1))
    command = [tmp_path / "x.npy", "--loss", "mse", "--epochs", 1, "--sample-reduction", "mean", "--run-dir"]
    message = run("train", *command, tmp_path / "a", "--bottleneck", "sparse", "--l1", "0.3", code=2).stderr
    assert "Use --sample-reduction sum, or divide the weight by 6" in message
    checks.check(unit, SquaredError(sample_reduction="sum"), dense(bottleneck=sparse(0.3)))
    checks.check(unit, mean, dense(bottleneck=sparse(0.05)), ignore=["reduction"])
    begin(*command, tmp_path / "b", "--bottleneck", "sparse", "--l1", "0.3", "--sample-reduction", "sum")
    begin(*command, tmp_path / "c", "--bottleneck", "sparse", "--l1", "0.05", "--ignore", "reduction")


@pytest.mark.parametrize(
    ("data", "loss", "activation", "message"),
    [
        ("standard", SquaredError(), "tanh", 'End it in activation="linear"'),
        ("unit", probabilities, "linear", 'End the model in activation="sigmoid"'),
        ("unit", logits, "sigmoid", 'End the model in activation="linear"'),
        ("unit", SquaredError(), "softmax", 'End it in activation="linear"'),
    ],
)
def test_the_remedies_of_the_last_layer_pass(data, loss, activation, message, request):
    data = request.getfixturevalue(data)
    with pytest.raises(ValueError, match=message) as refusal:
        checks.check(data, loss, dense(activation))
    checks.check(data, loss, dense(re.search('activation="(.*?)"', str(refusal.value))[1]))
    other = re.search(r"or use (BinaryCrossentropy\(.*?\))(?: with activation=\"(.*?)\")?", str(refusal.value))
    if other:
        checks.check(data, eval(other[1]), dense(other[2] or activation))
    scaling = re.search('or use preprocessing="(.*?)"', str(refusal.value))
    if scaling:
        checks.check(datasets.load(rows(-3, 5), preprocessing=scaling[1]), loss, dense(activation))
