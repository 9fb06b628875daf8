"""Tables with numbers, categories, yes and no, and gaps: from a file to a served score."""

import json
import math

import keras
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import scipy.special

from tests.commands import run, train
from tfae import advice, datasets, evaluation, export, losses, models, training
from tfae.columns import Block, Column
from tfae.losses import AbsoluteError, SquaredError, TableLoss

COUNTRIES = ["DE", "FR", "US"]
BLOCKS = [
    Block("size", "number", ("size",)),
    Block("weight", "number", ("weight",)),
    Block("color", "category", ("color=red", "color=blue", "color=(rest)")),
    Block("is_new", "yes/no", ("is_new",)),
    Block("shape", "category", ("shape=round", "shape=(rest)")),
]


def make_rows(num=300, *, gaps=0.0, seed=0):
    rng = np.random.default_rng(seed)
    country = rng.choice(COUNTRIES, num, p=[0.6, 0.3, 0.1])
    columns = {
        "amount": (rng.gamma(2, 50, num) * (1 + (country == "US"))).round(2),
        "country": country,
        "is_new": rng.random(num) < 0.2 + 0.5 * (country == "FR"),
        "age": rng.integers(18, 80, num).astype(float),
    }
    columns["country"][[3, 5]] = ["XX", "YY"]  # Each once: too rare for a place of their own.
    return {
        name: [None if rng.random() < gaps else value for value in values.tolist()] for name, values in columns.items()
    }


def write_csv(path, rows):
    with path.open("w") as file:
        file.write(",".join(rows) + "\n")
        for row in zip(*rows.values(), strict=True):
            file.write(",".join("" if value is None else str(value) for value in row) + "\n")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixed")
    write_csv(folder / "whole.csv", make_rows())
    write_csv(folder / "gaps.csv", make_rows(gaps=0.2))
    return folder


@pytest.fixture(scope="module")
def trained(folder):
    """Of the table with gaps: its data, a model, the evaluation, and the export."""
    data = datasets.load(folder / "gaps.csv", gaps="mask")
    keras.utils.set_random_seed(0)
    model = models.dense(data.shape, latent_dim=3, widths=(16,), input_layer=data.fill_gaps())
    training.compile(model, losses.for_table(SquaredError(), data.preprocessing), data, epochs=20)
    model.fit(data.train, validation_data=data.validation, epochs=20, shuffle=False, verbose=0)
    measured = evaluation.evaluate(model, data.test, train=data.train_from(0))
    return data, model, measured, export.save(model, folder / "saved_models" / "gaps", data=data)


def one_hot_sample():
    rng = np.random.default_rng(0)
    x = np.zeros((6, 8))
    x[:, :2] = rng.normal(size=(6, 2))
    x[np.arange(6), 2 + rng.integers(0, 3, 6)] = 1
    x[:, 5] = rng.integers(0, 2, 6)
    x[np.arange(6), 6 + rng.integers(0, 2, 6)] = 1
    return x, rng.normal(0, 3, (6, 8))


def expected_loss(x, z):
    """By hand, NumPy and SciPy in float64."""
    log_p = z[:, 2:5] - scipy.special.logsumexp(z[:, 2:5], axis=1, keepdims=True)
    log_q = z[:, 6:] - scipy.special.logsumexp(z[:, 6:], axis=1, keepdims=True)
    yes = x[:, 5] * scipy.special.log_expit(z[:, 5]) + (1 - x[:, 5]) * scipy.special.log_expit(-z[:, 5])
    squares = ((x[:, :2] - z[:, :2]) ** 2).sum(1)
    return squares - (x[:, 2:5] * log_p).sum(1) - yes - (x[:, 6:] * log_q).sum(1)


def test_the_loss_is_one_per_kind_of_column_and_one_sum_per_sample():
    x, z = one_hot_sample()
    loss = TableLoss(BLOCKS, dtype="float64")
    np.testing.assert_allclose(loss.per_sample(x, z), expected_loss(x, z), rtol=1e-12)
    np.testing.assert_allclose(np.sum(loss.per_feature(x, z), axis=1), expected_loss(x, z), rtol=1e-12)
    assert loss.per_feature(x, z).shape == (6, 5)
    np.testing.assert_array_equal(loss.floor(x), 0)
    np.testing.assert_allclose(
        loss.on_reconstructions().per_sample(x, loss.reconstruction(z)), expected_loss(x, z), rtol=1e-9
    )
    np.testing.assert_allclose(np.sum(loss.reconstruction(z)[:, 2:5], axis=1), 1, rtol=1e-12)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    np.testing.assert_array_equal(again.per_sample(x, z), loss.per_sample(x, z))


def test_a_gap_costs_nothing_and_has_no_gradient_and_weights_multiply():
    import tensorflow as tf

    x, z = one_hot_sample()
    with_gaps = x.copy()
    with_gaps[1, 0] = with_gaps[2, 5] = np.nan
    with_gaps[3, 2:5] = np.nan
    loss = TableLoss(BLOCKS, dtype="float64", weights={"color": 2.0})
    without = np.asarray(loss.per_feature(x, z)).copy()
    for place in ((1, 0), (2, 3), (3, 2)):
        without[place] = 0
    np.testing.assert_allclose(loss.per_feature(with_gaps, z), without, rtol=1e-12)
    np.testing.assert_allclose(
        loss.per_feature(x, z)[:, 2], 2 * TableLoss(BLOCKS, dtype="float64").per_feature(x, z)[:, 2], rtol=1e-12
    )
    variable = tf.Variable(z)
    with tf.GradientTape() as tape:
        value = loss(with_gaps, variable)
    gradient = tape.gradient(value, variable).numpy()
    numeric = np.zeros_like(z)
    for place in np.ndindex(*z.shape):
        step = np.zeros_like(z)
        step[place] = 1e-6
        numeric[place] = (float(loss(with_gaps, z + step)) - float(loss(with_gaps, z - step))) / 2e-6
    np.testing.assert_allclose(gradient, numeric, atol=1e-8)
    assert not gradient[1, 0]
    assert not gradient[2, 5]
    assert not gradient[3, 2:5].any()


@pytest.mark.parametrize("extreme", [0.0, 1e4, -1e4])
def test_the_loss_and_its_gradient_are_finite_at_extremes(extreme):
    import tensorflow as tf

    x, _ = one_hot_sample()
    z = tf.Variable(np.full((6, 8), extreme, "float32"))
    for loss in (TableLoss(BLOCKS), TableLoss(BLOCKS).on_reconstructions()):
        with tf.GradientTape() as tape:
            value = loss(x.astype("float32"), z)
        assert math.isfinite(float(value))
        assert np.isfinite(tape.gradient(value, z)).all()


@pytest.mark.parametrize("numbers", [SquaredError(), AbsoluteError()])
def test_the_best_constant_has_the_least_loss_of_all_constants_tried(numbers):
    x, _ = one_hot_sample()
    x[2, 0] = np.nan
    x[4, 2:5] = np.nan
    loss = TableLoss(BLOCKS, numbers=numbers, dtype="float64")
    best, readable = loss.best_constant(x), loss.on_reconstructions()
    np.testing.assert_allclose(best[2:5], np.nanmean(x[:, 2:5], axis=0))
    np.testing.assert_allclose(best[0], (np.nanmean if isinstance(numbers, SquaredError) else np.nanmedian)(x[:, 0]))
    least = np.sum(readable.per_sample(x, np.broadcast_to(best, x.shape)))
    rng = np.random.default_rng(0)
    for _ in range(50):
        other = np.clip(best + rng.normal(0, 0.05, 8) * np.r_[1, 1, np.ones(6)], 1e-3, None)
        other[:2] = best[:2] + rng.normal(0, 0.05, 2)
        assert np.sum(readable.per_sample(x, np.broadcast_to(other, x.shape))) >= least - 1e-9


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"numbers": losses.get("bce")}, "^numbers: expected a loss of any real number"),
        ({"weights": {"colour": 1.0}}, "^weights: expected columns, which are size, weight, color, .*received colour"),
    ],
)
def test_what_a_table_loss_can_not_be_made_of_is_named(arguments, match):
    with pytest.raises(ValueError, match=match):
        TableLoss(BLOCKS, **arguments)


def test_kinds_are_found_and_every_cell_comes_back(folder):
    for name, gaps in (("whole", None), ("gaps", "mask")):
        rows = make_rows(gaps=0.2 if gaps else 0.0)
        data = datasets.load(folder / f"{name}.csv", gaps=gaps)
        assert [column.kind for column in data.columns] == ["number", "category", "yes/no", "number"]
        assert [block.width for block in data.preprocessing.blocks] == [1, 4, 1, 1]
        vocabulary = data.columns[1].vocabulary
        assert set(vocabulary) == {*COUNTRIES, "XX", "YY"}
        for samples, places in zip(data.raw, data.origins, strict=True):
            back = np.asarray(data.preprocessing.inverse(data.preprocessing(samples)))
            for index, column in enumerate(data.columns):
                expected = [rows[column.name][place] for place in places]
                for found, cell in zip(back[:, index], expected, strict=True):
                    if cell is None:
                        assert math.isnan(found)
                    elif column.kind == "category":
                        assert found == (-1 if cell in ("XX", "YY") else vocabulary.index(cell))
                    else:
                        assert found == pytest.approx(float(cell), rel=1e-6)


@pytest.mark.parametrize("kind", ["parquet", "frame"])
@pytest.mark.parametrize("in_memory", [None, False])
def test_files_and_frames_are_the_same_matrix(folder, tmp_path, kind, in_memory):
    rows = make_rows(gaps=0.2)
    table = pa.table(rows).set_column(1, "country", pa.array(rows["country"]).dictionary_encode())
    expected = datasets.load(folder / "gaps.csv", gaps="mask")
    if kind == "parquet":
        pa.parquet.write_table(table, tmp_path / "gaps.parquet")
        data = datasets.load(tmp_path / "gaps.parquet", gaps="mask", in_memory=in_memory)
    elif in_memory is False:
        data = datasets.load(folder / "gaps.csv", gaps="mask", in_memory=False)
    else:
        data = datasets.load(table, gaps="mask")
    for one, other in zip(data.raw, expected.raw, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
    assert data.columns == expected.columns
    assert data.preprocessing.get_config() == expected.preprocessing.get_config()


@pytest.mark.filterwarnings("ignore:left out .* which have gaps")
def test_options_say_what_columns_hold_and_what_is_missing(folder, tmp_path):
    data = datasets.load(folder / "whole.csv", category=["age"], drop=["country"])
    assert data.columns[2].kind == "category"
    assert "44.0" in data.columns[2].vocabulary
    limited = datasets.load(folder / "whole.csv", max_categories=2)
    assert limited.preprocessing.blocks[1].names == ("country=DE", "country=FR", "country=(rest)")
    with pytest.warns(UserWarning, match=r"left out \d+ of 300 rows, which have gaps: .*amount \d+"):
        dropped = datasets.load(folder / "gaps.csv", gaps="drop")
    whole = [row for row in zip(*make_rows(gaps=0.2).values(), strict=True) if None not in row]
    assert sum(map(len, dropped.raw)) == len(whole)
    rows = make_rows()
    for place, sample in zip(dropped.origins.test, np.asarray(dropped.raw.test), strict=True):
        assert sample[3] == make_rows(gaps=0.2)["age"][place]
    rows["age"] = [-999.0 if index % 7 == 0 else value for index, value in enumerate(rows["age"])]
    path = write_csv(tmp_path / "filled.csv", rows)
    filled = datasets.load(path, missing=["-999"], gaps="mask")
    assert np.isnan(np.asarray(filled.raw.train)[:, 3]).mean() == pytest.approx(1 / 7, abs=0.02)
    array = np.array([[1.0, np.nan], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0]] * 5) + np.arange(20)[:, None]
    assert datasets.load(array, gaps="mask").preprocessing.gaps == ("column_1",)
    assert sum(map(len, datasets.load(array, gaps="drop").raw)) == 15


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({}, r"received a missing value in column .* gaps=\"mask\".*gaps=\"drop\""),
        ({"gaps": "fill"}, '^gaps: expected "mask", "drop" or None; received \'fill\''),
        ({"number": ["country"], "gaps": "mask"}, r"received text in 'country' \('..' in row \d+\)"),
        ({"category": ["contry"]}, r"^category: expected a column of .*Did you mean 'country'"),
        ({"category": ["age"], "number": ["age"]}, "^number: expected other columns than those of category; .*'age'"),
        ({"max_categories": 0}, "^max_categories: expected an integer of at least 1; received 0"),
    ],
)
def test_what_is_wrong_with_an_option_is_named(folder, options, match):
    with pytest.raises(ValueError, match=match):
        datasets.load(folder / "gaps.csv", **options)


def test_too_many_categories_are_an_error_with_its_remedies(tmp_path):
    rows = {"x": [float(index * 7 % 300) for index in range(300)], "name": [f"n{index % 150}" for index in range(300)]}
    path = write_csv(tmp_path / "names.csv", rows)
    with pytest.raises(ValueError, match=r"at most 100 categories; .*'name' .* drop=\['name'\], .*max_categories=100"):
        datasets.load(path)
    assert datasets.load(path, max_categories=100).preprocessing.blocks[1].width <= 101
    assert datasets.load(path, drop=["name"]).shape == (1,)


def test_the_value_of_a_masked_cell_has_no_influence(trained):
    data, model, _, path = trained
    exported = export.load(path)
    records = [{"amount": 100.0, "country": "DE", "is_new": 1.0, "age": 30.0}] * 2
    masked = [{**record, "age": value} for record, value in zip(records, (None, math.nan), strict=True)]
    scores = exported.score(masked)
    assert scores[0] == scores[1]
    assert scores[0] != exported.score(records)[0]
    samples = np.asarray(data.raw.test)[:20].copy()
    x = np.asarray(data.preprocessing(samples))
    model_scores = model.loss.per_sample(x, model(x, training=False)).numpy()
    np.testing.assert_allclose(exported.score(samples), model_scores, rtol=1e-5)


def test_an_evaluation_is_by_column_and_sums_to_the_loss(trained):
    _, _, measured, _ = trained
    assert list(measured.columns) == ["amount", "country", "is_new", "age"]
    assert sum(each["loss"] for each in measured.columns.values()) == pytest.approx(measured.loss, rel=1e-5)
    assert sum(each["constant"] for each in measured.columns.values()) == pytest.approx(
        measured.constant_loss, rel=1e-5
    )
    assert measured.constant_skill > 0.5
    assert measured.linear_loss is not None
    assert measured.floor == 0
    assert "loss by column, and skill against its best constant\n" in str(measured)
    again = evaluation.Evaluation.from_dict(json.loads(json.dumps(measured.as_dict())))
    assert again.columns == measured.columns


def test_what_is_not_finite_is_told_from_a_gap(trained):
    import tensorflow as tf

    data, model, *_ = trained
    x = np.array(data.preprocessing(data.raw.test[:3]))
    x[0, 0], x[1, 0] = np.nan, np.inf
    with pytest.raises(ValueError, match=r"received inf for sample 1 at \(0,\)"):
        evaluation.scores(model, tf.data.Dataset.from_tensor_slices((x, x)).batch(3))


def test_a_loss_that_does_not_fit_the_columns_is_refused_before_training(trained):
    data, *_ = trained
    model = models.dense(data.shape, latent_dim=2, widths=(8,))
    with pytest.raises(ValueError, match=r"loss: expected one per kind of column, .*tfae\.losses\.for_table\("):
        training.compile(model, SquaredError(), data, epochs=1)
    with pytest.raises(ValueError, match=r"model: expected one that takes gaps, .*data\.fill_gaps\(\)"):
        training.compile(model, losses.for_table(SquaredError(), data.preprocessing), data, epochs=1)
    ends = models.dense(
        data.shape, latent_dim=2, widths=(8,), input_layer=data.fill_gaps(), output_activation="sigmoid"
    )
    with pytest.raises(ValueError, match=r"model: expected one that ends in linear, .*received sigmoid"):
        training.compile(ends, losses.for_table(SquaredError(), data.preprocessing), data, epochs=1)
    with pytest.raises(ValueError, match="loss: expected that of the numbers of a table, such as mse or mae"):
        losses.for_table(losses.get("bce"), data.preprocessing)


def test_the_served_model_takes_and_gives_columns_by_name(trained):
    _, _, _, path = trained
    exported = export.load(path)
    record = {"age": 30.0, "is_new": True, "amount": 100.0, "country": " DE ", "note": "left out"}
    rare = {**record, "country": "ZZ"}
    scores = exported.score([record, rare])
    assert scores[1] > scores[0]  # No category that was trained on.
    explained = exported.explain([record, rare])
    assert explained["feature_score"].shape == (2, 4)
    np.testing.assert_allclose(explained["feature_score"].sum(1), explained["instance_score"], rtol=1e-5)
    assert explained["reconstruction"].keys() == {"amount", "country", "is_new", "age"}
    assert explained["reconstruction"]["country"].dtype == object
    frame = pa.table({name: [record[name]] for name in ("country", "amount", "age", "is_new")})
    np.testing.assert_allclose(exported.score(frame), scores[:1], rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"country": None, "age": "old"}, r"age: expected numbers; received <U3, such as 'old'"),
        (
            {"amount": math.inf},
            r"amount: expected finite numbers, or NaN for a gap; received infinity\. It is sample 0",
        ),
        ({"country": 1.5}, "country: expected bytes or text; received float"),
    ],
)
def test_a_cell_that_can_not_be_taken_is_named_with_its_column(trained, change, match):
    _, _, _, path = trained
    record = {"age": 30.0, "is_new": True, "amount": 100.0, "country": "DE"} | change
    with pytest.raises(ValueError, match=match):
        export.load(path).score([record])


def test_a_gap_is_refused_where_training_had_none(folder):
    data = datasets.load(folder / "whole.csv")
    model = models.dense(data.shape, latent_dim=2, widths=(8,))
    model.compile(loss=losses.for_table(SquaredError(), data.preprocessing))
    exported = export.load(export.save(model, folder / "saved_models" / "whole", data=data, ignore=["constant"]))
    record = {"age": 30.0, "is_new": True, "amount": 100.0, "country": "DE"}
    exported.score([record])
    for change, match in (
        ({"country": ""}, "country: expected a text in every row; received an empty one"),
        ({"age": math.nan}, "age: expected finite numbers; received NaN or infinity"),
    ):
        with pytest.raises(ValueError, match=match):
            exported.score([record | change])


def test_a_client_asks_by_name(trained):
    from tfae.serving import LocalServer

    _, _, _, path = trained
    record = {"age": 30.0, "is_new": 1.0, "amount": None, "country": "FR"}
    expected = export.load(path).explain([record])
    with LocalServer(path.parent) as server, server.client() as client:
        found = client.explain([record])
        np.testing.assert_allclose(found["instance_score"], expected["instance_score"], rtol=1e-5)
        assert found["reconstruction"]["country"].tolist() == expected["reconstruction"]["country"].tolist()
        with pytest.raises(
            ValueError, match=r"expected the columns .* by name, .*received ndarray, which has no names"
        ):
            client.score(np.zeros((1, 4)))
        with pytest.raises(ValueError, match="expected a value of 'country' in every record; received record 0 with"):
            client.score([{"Country": "FR", "age": 1.0, "is_new": 0.0, "amount": 1.0}])


def test_the_command_line_trains_evaluates_exports_and_scores_it(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    output = train(folder / "gaps.csv", "--gaps", "mask", "--epochs", 2, "--run-dir", "run", export_dir="model").output
    assert "loss by column" in output
    rows = {name: values[:4] for name, values in make_rows(seed=7).items()}
    rows["country"] = ["DE", "FR", "never seen", None]
    write_csv(tmp_path / "new.csv", {name: rows[name] for name in ("country", "age", "amount", "is_new")})
    run("score", "model", "new.csv", "-o", "scores.csv")
    scores = pa.csv.read_csv("scores.csv")["instance_score"].to_numpy()
    records = [dict(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True)]
    np.testing.assert_allclose(scores, export.load("model").score(records), rtol=1e-4)
    assert "loss by column" in run("evaluate", "run", "new.csv").output
    assert "loss by column" in run("evaluate", "run").output
    message = run("train", folder / "gaps.csv", "--epochs", 1, code=2).stderr
    assert "--gaps mask" in message
    assert "--gaps drop" in message


def test_advice_is_by_column_and_names_what_is_no_feature(folder, tmp_path):
    advised = str(advice.advise(datasets.load(folder / "gaps.csv", gaps="mask")))
    assert "country (3 of 5 told apart): one of some texts: cross-entropy" in advised
    assert "is_new: true or false: binary cross-entropy" in advised
    assert "missing values: " in advised
    assert "gaps=mask" in advised
    rng = np.random.default_rng(0)
    rows = {
        "x": rng.normal(size=200).tolist(),
        "filled": np.where(rng.random(200) < 0.1, -999.0, rng.normal(50, 10, 200)).tolist(),
        "id": rng.permutation(200).tolist(),
        "at": (1.7e9 + rng.integers(0, 10**6, 200)).astype(int).tolist(),
    }
    rows["twice"] = (3 - 2 * np.array(rows["x"])).tolist()
    advised = str(advice.advise(datasets.load(write_csv(tmp_path / "suspects.csv", rows))))
    for sentence in (
        "filled is -999 in ",
        "missing=['-999'] takes it so",
        "id is another whole number in every row",
        "at looks like times, seconds since 1970: drop=['at']",
        "twice says the same as x: drop=['twice']",
    ):
        assert sentence in advised
    assert "x is" not in advised.replace("same as x is", "")


def test_column_is_plain_data():
    column = Column("country", "category", ("DE", "FR"))
    assert Column(**json.loads(json.dumps(column.as_dict()))).name == "country"


@pytest.mark.filterwarnings("ignore:.*rises from row to row")
def test_losses_of_the_numbers_are_compared(without_pictures, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    output = run(
        "compare", folder / "gaps.csv", "--gaps", "mask", "--seeds", 1, "--epochs", 1, "--widths", 8, "--run-dir", "c"
    ).output
    assert "squared_error" in output
    assert "absolute_error" in output
    assert "binary_crossentropy" not in output


def test_pairs_of_categories_are_refused(folder):
    with pytest.raises(ValueError, match=r"^inputs: expected samples of numbers; received inputs for a table with cat"):
        datasets.load(folder / "whole.csv", inputs=folder / "whole.csv")


def test_a_signature_of_ones_own_takes_columns_beside_other_inputs(folder):
    from tfae.serving import LocalServer
    from tfae.signatures import FLAG, SAMPLES, SignatureDefinition, TensorKind

    data = datasets.load(folder / "gaps.csv", gaps="mask")
    model = models.dense(data.shape, latent_dim=2, widths=(8,), input_layer=data.fill_gaps())
    model.compile(loss=losses.for_table(SquaredError(), data.preprocessing))
    row = SignatureDefinition(
        "screen",
        lambda model, inputs, limit: {"is_outlier": model.score(inputs) > limit},
        {"inputs": SAMPLES, "limit": TensorKind("float32")},
        {"is_outlier": FLAG},
        golden_inputs=lambda model, samples: {"limit": np.full(len(samples), 5.0)},
    )
    path = export.save(model, folder / "own" / "m", data=data, signatures=[row], ignore=["constant"])
    exported = export.load(path)
    records = [{"age": 30.0, "is_new": 1.0, "amount": None, "country": "FR"}]
    limit = exported.score(records).astype("float32")
    with LocalServer(path.parent) as server, server.client() as client:
        for ask in (exported.call, client.call):
            assert not ask("screen", inputs=records, limit=limit)["is_outlier"][0]
            assert ask("screen", inputs=records, limit=limit / 2)["is_outlier"][0]
