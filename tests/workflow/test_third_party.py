"""Another package's methods, sources, formats and families: docs/extending.md as it stands there, planned, run, reported."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "extending.md").read_text(encoding="utf-8")
MODELS = "experiments/extended/models"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def code(block: str) -> list[str]:
    """The lines of a file without its name, docstrings, comments and what is empty."""
    plain = re.sub(r'"""[^"]*"""', "", block.partition("\n")[2])
    return [line for line in plain.splitlines() if line.strip() and not line.strip().startswith("#")]


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder with the package of the page, as pip would have it."""
    folder = tmp_path_factory.mktemp("site")
    for block in blocks("python"):
        path = folder / block.partition("\n")[0].removeprefix("# ")
        path.parent.mkdir(exist_ok=True)
        path.write_text(block, encoding="utf-8")
    about = folder / "my_package-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    groups = tomllib.loads(blocks("toml")[0])["project"]["entry-points"]
    lines = [
        f"[{g}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items()) for g, points in groups.items()
    ]
    (about / "entry_points.txt").write_text("\n".join(lines))
    return folder


@pytest.fixture
def planned(installed, monkeypatch, tmp_path):
    """`planned(config)`: what the plan of a configuration says, in a process that has the package."""
    monkeypatch.setenv("PYTHONPATH", str(installed))
    monkeypatch.chdir(tmp_path)

    def look(*arguments: str, config: Any = None) -> subprocess.CompletedProcess[str]:
        if config is not None:
            Path("config.yaml").write_text(yaml.safe_dump(config))
            arguments = ("config.yaml", *arguments)
        command = [sys.executable, "-m", "consomme.plan", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return look


@pytest.fixture
def config() -> dict[str, Any]:
    found = yaml.safe_load(blocks("yaml")[0])
    claims = found["experiments"]["extended"]["claims"]
    claims[:] = [{("on" if key is True else key): value for key, value in claim.items()} for claim in claims]
    return found


@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: block.partition("\n")[0])
def test_no_example_is_longer_than_thirty_lines(block):
    assert len(code(block)) <= 30


def test_the_configuration_is_planned_and_the_schema_shows_what_it_uses(planned, config):
    done = planned(config=config)
    assert done.returncode == 0, done.stderr
    schema = json.loads(planned("--schema").stdout)
    jsonschema.validate(config, schema)
    definitions = schema["$defs"]
    for section, key, words in [
        ("AverageNode", "decay", "decaying: the weight of a model"),
        ("Layers", "first", "alternate: the first layer"),
        ("Width", "power", "mean_power: of each"),
        ("Corpus", "words", "tones: what is said"),
        ("Augment", "polarity", "asr: the waveform upside down"),
        ("ExportNode", "compress", "npz: smaller"),
    ]:
        assert definitions[section]["properties"][key]["description"].startswith(words)
    assert "unispeech" in definitions["Start"]["properties"]["scratch"]["properties"]["family"]["enum"]
    config["experiments"]["extended"]["models"]["soup"]["alpha"] = 0.5
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(config, schema)


@pytest.mark.parametrize(
    ("place", "value", "wanted"),
    [
        (f"{MODELS}/soup/decay", 2, ["soup.decay", "less than or equal to 1", "given: 2"]),
        (f"{MODELS}/soup/decy", 1, ["soup.decy", "did you mean 'decay'"]),
        (f"{MODELS}/soup/density", 1, ["soup.density", "belongs to another method than decaying: ties"]),
        (f"{MODELS}/soup/method", "decayin", ["soup.method", "did you mean 'decaying'"]),
        (f"{MODELS}/half/layers/encoder/first", 0, ["half.layers.encoder.first", "greater than or equal to 1"]),
        (f"{MODELS}/half/layers/encoder/beam", 2, ["another chooser than alternate: greedy"]),
        (f"{MODELS}/thin/width/power", 0, ["thin.width.power", "greater than 0"]),
        (f"{MODELS}/deployed/compress", "much", ["deployed.compress", "given: 'much'"]),
        (f"{MODELS}/deployed/quantization", "int8", ["another format than npz: safetensors, ctranslate2"]),
        (f"{MODELS}/runs/augment/polarity/probability", 2, ["runs.augment.polarity.probability", "less than or equal"]),
        (f"{MODELS}/runs/augment/polarity/probabilty", 1, ["did you mean 'probability'"]),
        (f"{MODELS}/runs/augment/polarty", True, ["did you mean 'polarity'"]),
        (f"{MODELS}/raw/from/scratch/hiden_size", 1, ["did you mean 'hidden_size'"]),
        ("corpora/train/words", [], ["corpora.train.words", "at least 1 item"]),
        ("corpora/train/pattern", "x", ["corpora.train.pattern", "another source than tones: folder"]),
        ("experiments/extended/metrics", ["wer", "unanswred"], ["did you mean 'unanswered'"]),
        ("experiments/extended/task", "nmt", ["corpora.", "'tones' serves asr"]),
    ],
)  # fmt: skip
def test_a_wrong_value_is_answered_like_any_other(planned, config, place, value, wanted):
    here: Any = config
    *parents, last = place.split("/")
    for part in parents:
        here = here[part]
    here[last] = value
    if value == "nmt":
        config["experiments"]["extended"] |= {
            "languages": ["en", "fr"],
            "normaliser": "basic",
            "metrics": ["bleu"],
            "claims": [],
        }
    done = planned(config=config)
    assert done.returncode == 2
    for words in wanted:
        assert words in done.stderr, done.stderr


@pytest.mark.workflow
@pytest.mark.slow
def test_it_runs_and_reports(installed, monkeypatch, empty, config):
    monkeypatch.setenv("PYTHONPATH", str(installed))
    empty.write(config)
    empty.run()
    results = empty.folder / "results" / "extended"
    page = (results / "report.html").read_text(encoding="utf-8")
    assert "unanswered" in page and "half" in page
    made = {path.parent.name.rpartition("-")[0]: path for path in results.glob("models/*/provenance.json")}
    chosen = {node: json.loads(path.read_text()).get("chosen") for node, path in made.items()}
    assert chosen["soup"]["weights"] == [1.0, 0.9]
    assert chosen["half"]["layers"]["encoder"]["dropped"] == [1, 3]
    assert chosen["thin"]["width"]["by"] == "mean_power"
    assert list(results.glob("models/deployed-*/weights.npz"))
