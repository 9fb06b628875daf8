import base64
import dataclasses
import functools
import html.parser
import io
import itertools
import json
import math
import re
import shutil
import subprocess

import keras
import matplotlib
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from tfae import comparison, datasets, losses, models, report, runs
from tfae.advice import advise
from tfae.evaluation import Finding, scores
from tfae.report import drawing
from tfae.report import page as pages

matplotlib.use("Agg")

from matplotlib import pyplot as plt

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
VOID = {"meta", "link", "img", "br", "hr", "input", "col", "wbr"}


class Page(html.parser.HTMLParser):
    """A page, read strictly: every element is closed, in order."""

    def __init__(self, path):
        super().__init__()
        self.text = path.read_text(encoding="utf-8")
        self.elements, self.open, self.tables, self.headings = [], [], [], []
        self.feed(self.text)
        self.close()
        assert not self.open
        self.images = self.all("img")

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif re.fullmatch("h[1-6]", tag):
            self.headings.append([int(tag[1]), ""])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "td" in self.open or "th" in self.open:
            self.tables[-1][-1][-1] += data
        if self.open and re.fullmatch("h[1-6]", self.open[-1]):
            self.headings[-1][1] += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module", autouse=True)
def no_figures():
    """No figure of another test is open."""
    plt.close("all")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Small pictures of digits, with labels."""
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    digits = load_digits()
    np.savez(path, x=digits.images[:200, ..., None].astype("uint8"), y=digits.target[:200])
    return datasets.load(path, preprocessing="unit", value_range=(0, 16), batch_size=32)


def build(shape, **arguments):
    return models.dense(shape, latent_dim=3, widths=(8,), **arguments)


def train(data, run_dir, **arguments):
    keras.utils.set_random_seed(0)
    options = {"epochs": 2, "loss": losses.SquaredError(), "verbose": 0, **arguments}
    return runs.train(build(data.shape), data, run_dir=run_dir, **options)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    return train(data, tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def page(run):
    return Page(run.directory / "report.html")


@pytest.fixture(scope="module")
def compared(data, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tfae.report.draw_pictures", lambda *_: {})  # of each run, which take most of the time
        options = {"seeds": 1, "epochs": 1, "build": functools.partial(build, data.shape), "verbose": False}
        run_dir = tmp_path_factory.mktemp("runs") / "compared"
        found = comparison.compare(data, ["mse", "bce"], run_dir=run_dir, **options)
    # For the page, the same runs once more are as good as those of a second seed, and of another kind of training data,
    # but for the numbers.
    rows = []
    for corruption, factors in {"clean": (1.0, 1.01), "salt_and_pepper=0.2": (3.0, 4.0)}.items():
        for row in found.rows:
            values = {
                name: each and comparison.SeedValues(tuple(factor * each.mean for factor in factors))
                for name, each in row.values.items()
            }
            rows.append(dataclasses.replace(row, corruption=corruption, values=values, runs=row.runs * 2))
    return dataclasses.replace(found, rows=tuple(rows))


@pytest.fixture(scope="module")
def comparison_page(compared, data):
    comparison.write_page(compared, data, compared.directory / "report.html")
    return Page(compared.directory / "report.html")


@pytest.fixture(params=["page", "comparison_page"])
def each_page(request):
    return request.getfixturevalue(request.param)


def number(text):
    """The number that a cell shows."""
    return float(re.sub(r"[\u2007\u2008,]", "", text).replace("−", "-"))


def rewritten(run, path, **changes):
    """The page of a run of which something is otherwise, without pictures."""
    config = {**run.config, **changes.pop("config", {})}
    values = {**run.evaluation.values, **changes.pop("values", {})}
    evaluation = dataclasses.replace(run.evaluation, values=values, **changes)
    history = {"loss": [2.0], "val_loss": [1.0]}
    report.write_run_page(path, run.load_data(), config, history, evaluation, {})
    return Page(path)


def test_pages_are_html5_of_one_file_with_language_title_and_headings_in_order(each_page):
    assert each_page.text.startswith("<!DOCTYPE html>")
    assert each_page.all("html") == [{"lang": "en"}]
    assert each_page.all("meta")[0] == {"charset": "utf-8"}
    assert len(re.findall("<title>[^<]+digits</title>", each_page.text)) == 1
    levels = [level for level, _ in each_page.headings]
    assert [place for place, level in enumerate(levels) if level == 1] == [0]
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all(text.strip() for _, text in each_page.headings)
    # They need no other file, no network and no script.
    assert not each_page.all("script")
    addresses = [each[name] for _, each in each_page.elements for name in ("src", "href") if name in each]
    assert len(addresses) > 5
    assert all(address.startswith("data:") for address in addresses)
    names = {name for _, attributes in each_page.elements for name in attributes}
    assert not {name for name in names if name.startswith("on")} | names & {"srcset", "style", "background"}
    (style,) = re.findall("<style>(.*?)</style>", each_page.text, re.S)
    assert "url(" not in style
    assert "@import" not in style
    assert "@media print" in style
    assert "prefers-color-scheme: dark" in style
    assert len(each_page.text) < 3 * 10**6
    assert plt.get_fignums() == []  # that they were drawn in


def test_every_picture_has_words_for_it_and_holds_itself(each_page):
    assert len(each_page.images) >= 6
    for image in each_page.images:
        assert len(image["alt"]) > 40
        assert image["alt"].endswith(".")
        kind, _, content = image["src"].partition(";base64,")
        assert kind in ("data:image/png", "data:image/jpeg")
        with Image.open(io.BytesIO(base64.b64decode(content, validate=True))) as opened:
            ratio = int(image["width"]) / int(image["height"])
            assert opened.width / opened.height == pytest.approx(ratio, rel=0.01)
            assert np.asarray(opened.convert("L")).std() > 5
    assert len(each_page.all("figcaption")) == len(each_page.images)


def test_the_table_of_a_run_holds_the_numbers_of_its_evaluation(run, page):
    (table,) = page.tables
    cells = {row[0]: row[1:] for row in table if len(row) == 3}
    titles = {"loss": "Loss per sample", "constant_loss": "Constant baseline", "linear_loss": "Linear baseline"}
    titles |= {"train_loss": "Training split", "num_active_units": "Active units"}
    titles |= {name: name.upper() for name in ("mse", "mae", "psnr", "ssim")}
    for name in ("floor", "excess", "loss_per_element", "sharpness", "effective_dimension", "triviality"):
        titles[name] = name.capitalize().replace("_", " ")
    titles["constant_triviality"] = "Constant triviality"
    for name, title in titles.items():
        assert number(cells[title][0]) == pytest.approx(getattr(run.evaluation, name), rel=1e-4), title
    for name in ("constant", "linear"):
        skill = f"skill {100 * getattr(run.evaluation, name + '_skill'):.1f}\xa0%".replace("-", "−")
        assert skill in cells[f"{name.capitalize()} baseline"][1]


def test_what_was_not_measured_is_not_there_with_the_reason_and_findings_are_shown_or_their_absence_said(run, tmp_path):
    finding = Finding("dead_latent", 2.0, "2 of the 3 units hardly vary.")
    changes = {
        "values": {"ssim": None, "psnr": math.inf},
        "reasons": {"ssim": "samples are no images"},
        "findings": (finding,),
    }
    page = rewritten(run, tmp_path / "page.html", penalties={"sparse": 0.5}, **changes)
    cells = {row[0]: row[1:] for row in page.tables[0] if len(row) == 3}
    assert number(cells["Penalty of sparse"][0]) == 0.5
    assert cells["Loss and penalties"][1] == "what Keras reports as loss and val_loss"
    with_penalty, without = dataclasses.replace(run.evaluation, penalties={"sparse": 0.5}), run.evaluation
    row = ("Penalty of sparse", ("0.5", "n/a"))
    rows = dict(pages.rows_of_losses([[with_penalty, with_penalty], [without]]))
    assert (row[0], tuple(text.strip() for text in rows[row[0]])) == row
    assert len({len(texts[0]) for texts in rows.values()}) == 1  # decimal points are below each other
    assert cells["SSIM"][0].strip() == "n/a"
    assert cells["SSIM"][1] == "samples are no images"
    assert cells["PSNR"][0].strip() == "∞"
    assert "<strong>Dead latent.</strong> 2 of the 3" in page.text
    assert "gave a warning" in rewritten(run, tmp_path / "page.html", findings=()).text


def test_text_is_text_even_if_it_looks_like_html(run, tmp_path):
    bad = "<script>alert('1')</script> & \""
    config = {"data": {**run.config["data"], "name": bad}}
    page = rewritten(run, tmp_path / "page.html", findings=(Finding(bad, None, bad),), config=config)
    assert not page.all("script")
    assert page.headings[0][1] == f"Dense autoencoder on {bad}"


def test_every_page_shows_the_advice_on_its_data_with_the_reasons(each_page, data):
    advice = advise(data)
    assert len(advice.reasons) >= 2
    assert advice.sources
    assert [2, "Advice"] in each_page.headings
    for said in (*advice.reasons, *advice.sources):
        assert html.escape(said, quote=False) in each_page.text.replace("&#34;", '"').replace("&#39;", "'")
    assert "It is based on" not in each_page.text


def test_the_advice_that_a_run_has_noted_is_the_one_that_is_shown(run, data, tmp_path):
    noted = dataclasses.replace(advise(data), reasons=("because of the cat",)).as_dict()
    for notes, is_shown in (({"advice": json.loads(json.dumps(noted))}, True), ({"advice": "feed the cat"}, False)):
        page = rewritten(run, tmp_path / "page.html", config={"notes": notes})
        assert [2, "Advice"] in page.headings
        assert ("<li>because of the cat</li>" in page.text) == is_shown
        assert "feed the cat" not in page.text


@pytest.mark.parametrize("in_memory", [True, False])
def test_the_advice_of_a_page_looks_at_evenly_spaced_samples_where_there_are_many(tmp_path, monkeypatch, in_memory):
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(100, 4)))
    data = datasets.load(tmp_path / "rows.npy", in_memory=in_memory)
    asked = []
    monkeypatch.setattr(pages, "advise", lambda data: asked.append(data) or advise(data))
    assert pages.advise_page(data)[1] == ""
    assert asked.pop() is data
    monkeypatch.setattr(pages, "MAX_VALUES", 4 * 20 + 3)
    advice, note = pages.advise_page(data)
    assert note == "It is based on 20 of the 80 training samples; tfae advise looks at all of them."
    np.testing.assert_array_equal(asked[0].raw.train[:], data.raw.train[::4])
    assert advice["statistics"]["num_samples"] == 20
    assert advice["loss"] == advise(data).loss


def test_a_page_without_advice_says_why(run, tmp_path, monkeypatch):
    def refusing(data):
        raise ValueError("data: expected <finite> deviations.")

    monkeypatch.setattr(pages, "advise", refusing)
    page = rewritten(run, tmp_path / "page.html")
    assert "<p>n/a: data: expected &lt;finite&gt; deviations.</p>" in page.text
    assert [3, "Reasons"] not in page.headings


def test_pictures_are_files_too_that_carry_their_description(run, page):
    described = {}
    for path in (run.directory / "pictures").iterdir():
        with Image.open(path) as image:
            image.load()
            described[path.stem] = image.info["Description"]
    names = ["best", "latents", "reconstructions", "score_histogram", "training_curves", "worst"]
    assert sorted(described) == names
    assert sorted(described.values()) == sorted(image["alt"] for image in page.images)


def test_the_worst_and_the_best_are_those_of_the_highest_and_the_lowest_loss(run, data, page):
    ordered = np.sort(scores(run.autoencoder, data.test))
    for how, extremes in (("highest", ordered[-8:]), ("lowest", ordered[:8])):
        alt = next(image["alt"] for image in page.images if f"of the {how} loss" in image["alt"])
        low, high = map(float, re.search(r"Losses from ([\d.]+) to ([\d.]+)\.$", alt).groups())
        assert (low, high) == (pytest.approx(extremes[0], rel=1e-3), pytest.approx(extremes[-1], rel=1e-3))


def test_pictures_name_index_origin_and_class_of_a_sample_and_share_the_scale_of_errors(tmp_path, monkeypatch):
    for k, (name, image) in enumerate(
        zip("ab" * 15, np.random.default_rng(0).integers(0, 255, (30, 8, 8)), strict=True)
    ):
        (tmp_path / "photos" / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.astype("uint8")).save(tmp_path / "photos" / name / f"{k:02}.png")
    drawn = []
    monkeypatch.setattr(drawing, "draw_picture", lambda name, alt, figure: drawn.append(figure))
    for source, expected in (
        (tmp_path / "photos", lambda data, k: f"{data.origins.test[k][2:]}\n{data.origins.test[k][0]}"),
        ("digits", lambda data, k: f"row {data.origins.test[k]}\nlabel {load_digits().target[data.origins.test[k]]}"),
    ):
        data = datasets.load(source)
        model = build(data.shape)
        model.compile(loss=losses.SquaredError())
        found = scores(model, data.test)
        drawing.draw_extremes(model, data, found)
        worst, best = drawn[-2:]
        for figure, order in ((worst, np.argsort(-found, kind="stable")), (best, np.argsort(found, kind="stable"))):
            title = figure.axes[0].get_title()
            assert title == f"test {order[0]}\n{expected(data, order[0])}\nloss {found[order[0]]:.4g}"
        clim = worst.axes[-1].images[0].get_clim()
        assert best.axes[-1].images[0].get_clim() == clim
        assert all(np.asarray(ax.images[0].get_array()).max() <= clim[1] for ax in best.axes[-3:])


def test_tables_are_drawn_in_deviations_of_the_training_split_with_the_names_of_classes(monkeypatch):
    data = datasets.load("breast_cancer")
    figures = []
    monkeypatch.setattr(drawing, "draw_picture", lambda name, alt, figure: figures.append(figure))
    model = build(data.shape)
    model.compile(loss=losses.SquaredError())
    drawing.draw_samples(model, data, np.arange(3), {"worst": ("The first", slice(None))})
    train = data.raw.train
    expected = (data.raw.test[0] - train.mean(0)) / train.std(0)
    np.testing.assert_allclose(figures[0].axes[0].lines[0].get_ydata(), expected, rtol=1e-6)
    kind = ("malignant", "benign")[data.labels.test[0]]
    assert f"test 0, row {data.origins.test[0]}, {kind}, loss " in figures[0].axes[0].get_title(loc="left")
    drawing.draw_latents({"": model}, data)
    assert [text.get_text() for text in figures[1].axes[0].get_legend().get_texts()] == ["benign", "malignant"]


@pytest.mark.parametrize("num_samples", [4, 12])
def test_tables_of_few_samples_have_pages_without_what_they_can_not_have(num_samples, tmp_path):
    data = datasets.load(np.random.default_rng(0).random((num_samples, 3)))
    run = train(data, tmp_path / "run", epochs=1)
    page = Page(run.directory / "report.html")
    titles = [text for _, text in page.headings]
    for title in ("Latents", "Worst and best reconstructions"):
        assert (title in titles) == (len(data.raw.test) > 1)
    assert all(image["alt"] for image in page.images)


def test_the_tables_of_a_comparison_hold_its_numbers_and_mark_the_best(compared, comparison_page):
    kinds = ["clean", "salt_and_pepper=0.2"]
    assert len(comparison_page.tables) == 2 * len(kinds)
    for kind, shared, own in zip(kinds, comparison_page.tables[::2], comparison_page.tables[1::2], strict=True):
        rows = [row for row in compared.rows if row.corruption == kind]
        assert shared[0] == ["Metric", "squared error", "binary crossentropy"]
        assert own[0] == ["Metric", "squared error", "binary crossentropy, nats"]
        cells = {row[0]: row[1:] for row in [*shared, *own]}
        titles = {"MSE": "mse", "PSNR, dB": "psnr", "Active units": "num_active_units"}
        for title, name in {**titles, "Linear probe, accuracy": "linear_probe"}.items():
            assert cells[title] == [text.replace("-", "−") for text, _ in compared.table(kind)[title]]
            assert [number(cell.split()[0]) for cell in cells[title]] == pytest.approx(
                [row.values[name].mean for row in rows], rel=0.02
            )
            assert len({len(cell.split()[0].partition(".")[2]) for cell in cells[title]}) == 1
        assert cells["Cross-entropy, bits"][1].strip() == str(rows[1].values["bits"])
        for title, name in {"Loss per sample": "loss", "Floor": "floor", "Linear baseline": "linear_loss"}.items():
            for cell, row in zip(cells[title], rows, strict=True):
                values = [json.loads((path / "evaluation.json").read_text())[name] for path in row.runs]
                assert number(cell) == pytest.approx(np.mean(values), rel=1e-4)
    clean, corrupted = comparison_page.tables[::2]
    assert all(row != other for row, other in zip(clean[1:], corrupted[1:], strict=True))
    marked = re.findall('<strong class="best">([^<]+)</strong>', comparison_page.text)
    names = ("mse", "mae", "crossentropy", "bits", "psnr", "ssim", "sharpness", "linear_probe", "neighbor_accuracy")
    expected = [
        text.replace("-", "−")
        for kind in kinds
        for cells in compared.table(kind).values()
        for text, is_best in cells
        if is_best
    ]
    assert len(expected) == sum(name in names for kind in kinds for name in compared.winners[kind])
    assert marked == expected


def test_a_comparison_shows_the_same_samples_under_each_loss_for_each_kind_of_training_data(comparison_page):
    side_by_side = [image["alt"] for image in comparison_page.images if "by the model of each loss" in image["alt"]]
    assert len(side_by_side) == 2
    assert all("under squared error" in alt and "under binary crossentropy" in alt for alt in side_by_side)
    titles = [text for _, text in comparison_page.headings]
    assert "Pictures: trained on clean data" in titles
    assert "Pictures: trained on data with salt_and_pepper=0.2" in titles
    assert sum("of the highest loss" in image["alt"] for image in comparison_page.images) == 2


in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on PATH that could open the pages")


def chromium(folder, path, *options):
    """What headless Chromium says on a page."""
    profile = f"--user-data-dir={folder / 'profile'}"
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", profile, *options]
    return subprocess.run([*command, path.as_uri()], capture_output=True, text=True, check=True, timeout=120).stderr


def shown(path, folder, *, dark=False):
    """What it paints, and the lines of its console."""
    options = ["--hide-scrollbars", "--enable-logging=stderr", "--window-size=1000,3000"]
    options += [f"--screenshot={folder / 'shown.png'}", f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
    said = chromium(folder, path, *options)
    with Image.open(folder / "shown.png") as image:
        pixels = np.asarray(image.convert("L"))
    return pixels, [line for line in said.splitlines() if "CONSOLE" in line]


@pytest.mark.slow
@in_a_browser
def test_a_browser_shows_the_pages_in_light_and_dark_without_an_error(run, page, compared, comparison_page, tmp_path):
    for each in (run, compared):
        (light, said), (dark, said_then) = (
            shown(each.directory / "report.html", tmp_path, dark=dark) for dark in (False, True)
        )
        assert said == said_then == []
        for pixels in (light, dark):
            assert pixels.std() > 20
            assert len(np.unique(pixels)) > 50
        assert np.median(light[:300]) > 240
        assert np.median(dark[:300]) < 50


# Prints how many row headers and hints there are, and which of them a page of 360 pixels breaks or covers.
MEASURE_NARROW = """<iframe width=360 height=900></iframe><script>
const frame = document.querySelector("iframe"), box = (of) => of.getBoundingClientRect();
frame.onload = () => {
  const page = frame.contentDocument, heads = [...page.querySelectorAll(".scroll th[scope=row]")];
  const hints = [...page.querySelectorAll(".hint")], wrong = [
    ...heads.filter((head) => box(head).height > 100 || box(head).width < 90),
    ...hints.filter((hint) => box(hint).bottom > box(hint.nextElementSibling).top)];
  console.log(heads.length, hints.length, page.documentElement.scrollWidth, wrong.map((each) => each.textContent));
};
frame.srcdoc = PAGE;
</script>"""


@pytest.mark.slow
@in_a_browser
def test_narrow_pages_scroll_their_tables_and_break_no_words(run, page, compared, comparison_page, tmp_path):
    for each in (run, compared):
        text = (each.directory / "report.html").read_text(encoding="utf-8")
        frame = tmp_path / "frame.html"
        frame.write_text(MEASURE_NARROW.replace("PAGE", json.dumps(text).replace("</", "<\\/")), encoding="utf-8")
        said = chromium(
            tmp_path, frame, "--hide-scrollbars", "--enable-logging=stderr", f"--screenshot={tmp_path / 'shown.png'}"
        )
        heads, hints, width, *wrong = re.search(r'"(\d+) (\d+) (\d+) (.*?)", source', said).groups()
        assert int(heads) >= 10
        assert int(hints) >= 2
        assert int(width) == 360
        assert wrong == [""]


def words_by_page(path):
    """Of each page of a PDF file its width, and of each of its lines, from the top, the extent and the words."""
    command = ["pdftotext", "-bbox-layout", path, "-"]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    number = r'"([\d.]+)"'
    for width, content in re.findall(rf"<page width={number} [^>]*>(.*?)</page>", text, re.S):
        lines = []
        for left, top, right, line in re.findall(
            rf"<line xMin={number} yMin={number} xMax={number} [^>]*>(.*?)</line>", content, re.S
        ):
            words = " ".join(re.findall("<word[^>]*>(.*?)</word>", line))
            lines.append((float(top), float(left), float(right), html.unescape(words)))
        yield float(width), sorted(lines)


@pytest.mark.slow
@in_a_browser
def test_pages_are_printed_whole(run, page, compared, comparison_page, tmp_path):
    for each, read in ((run, page), (compared, comparison_page)):
        path = tmp_path / "printed.pdf"
        chromium(tmp_path, each.directory / "report.html", "--no-pdf-header-footer", f"--print-to-pdf={path}")
        content = path.read_bytes()
        assert content.startswith(b"%PDF-")
        assert content.count(b"/Subtype /Image") >= len({image["src"] for image in read.images})
        if shutil.which("pdftotext") is None:
            continue  # What follows reads the text; poppler-utils has it.
        sheets = list(words_by_page(path))
        assert 2 <= len(sheets) <= 20
        headings = [" ".join(text.split()) for _, text in read.headings[1:]]
        text = " ".join(words for _, lines in sheets for _, _, _, words in lines)
        assert all(heading in text for heading in headings)
        assert all(word in text for row in read.tables[0][1:] for word in row[0].split())
        for width, lines in sheets:
            assert min(left for _, left, _, _ in lines) >= 40  # The margin is 15 mm, 42.5 points.
            assert max(right for _, _, right, _ in lines) <= width - 40
            assert lines[-1][3] not in headings  # What a heading is of is on its page.


@pytest.mark.slow
@in_a_browser
def test_a_browser_would_tell_of_an_error(tmp_path):
    (tmp_path / "page.html").write_text("<!DOCTYPE html><title>t</title><script>undefined_name()</script>")
    pixels, messages = shown(tmp_path / "page.html", tmp_path)
    assert pixels.std() == 0
    assert "undefined_name is not defined" in messages[0]
