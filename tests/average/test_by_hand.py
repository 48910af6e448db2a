"""The command without a configuration."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

from consomme.average.stage import entry

WITHOUT_DATA = {
    "uniform": [],
    "weighted": ["--weights", "1", "2"],
    "interpolate": ["--alpha", "0.5"],
    "slerp": ["--alpha", "0.5"],
    "task_arithmetic": ["--base"],
    "ties": ["--base", "--density", "0.5"],
    "dare_linear": ["--base", "--density", "0.5"],
    "dare_ties": ["--base", "--density", "0.5"],
    "della": ["--base", "--density", "0.5"],
    "breadcrumbs": ["--base", "--density", "0.5", "--gamma", "0.05"],
    "tsv": ["--base", "--rank", "1/4", "--boost", "0.3"],
    "iso_c": ["--base", "--scale", "1.5"],
    "karcher": [],
    "model_stock": ["--base"],
}


@pytest.mark.parametrize("method", WITHOUT_DATA)
def test_without_data_neither_torch_nor_transformers_is_imported_and_no_hash_seed_counts(
    tmp_path, checkpoint, some, method
):
    base, *folders = (str(checkpoint(f"m{i}", some(i))) for i in range(3))
    options = [part for o in WITHOUT_DATA[method] for part in ([o, base] if o == "--base" else [o])]
    command = "import sys; from consomme.average.stage import entry; entry(sys.argv[1:]); "
    command += "sys.exit(any(m in sys.modules for m in ('torch', 'transformers', 'pandas')))"
    made = []
    for seed in ("1", "2"):
        out = tmp_path / f"out {seed}"
        line = [sys.executable, "-c", command, "--method", method, *options, "--out", str(out), "--", *folders]
        subprocess.run(line, check=True, env={**os.environ, "PYTHONHASHSEED": seed})
        made.append((out / "model.safetensors").read_bytes())
    assert made[0] == made[1]


def test_uniform_by_hand(tmp_path, checkpoint, some):
    folders = [str(checkpoint(f"m{i}", some(i))) for i in range(2)]
    out = tmp_path / "soup"
    entry(["--method", "uniform", "--out", str(out), *folders])
    expected = (some(0)["layer.bias"].astype(np.float64) + some(1)["layer.bias"]) / 2
    np.testing.assert_array_equal(load_file(out / "model.safetensors")["layer.bias"], expected.astype(np.float32))
    provenance = json.loads((out / "provenance.json").read_text())
    assert provenance["verb"] == "average"
    assert provenance["chosen"] == {"ingredients": folders}
    assert [p["name"] for p in provenance["parents"]] == folders


@pytest.mark.parametrize("method", ["uniform", "ensemble"])
def test_models_that_do_not_fit_leave_nothing_behind(tmp_path, checkpoint, some, capsys, method):
    good = checkpoint("good", some(0))
    other = checkpoint("other", some(1), vocabulary={"</s>": 0, "<unk>": 1, "a": 3, "b": 2})
    damaged = checkpoint("damaged", some(2))
    content = (damaged / "model.safetensors").read_bytes()
    (damaged / "model.safetensors").write_bytes(content[:-10])
    pickled = checkpoint("pickled", some(3))
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    for wrong, words in ((other, "different vocabularies"), (damaged, "truncated"), (pickled, "a pickle")):
        with pytest.raises(SystemExit):
            entry(["--method", method, "--out", str(tmp_path / "out"), str(good), str(wrong)])
        told = capsys.readouterr().err
        assert words in told and str(wrong) in told
        assert not [path for path in tmp_path.iterdir() if "out" in path.name]


def test_interpolate_by_hand(tmp_path, checkpoint, some):
    folders = [str(checkpoint(f"m{i}", some(i))) for i in range(2)]
    entry(["--method", "interpolate", "--alpha", "1", "--out", str(tmp_path / "end"), *folders])
    end = load_file(tmp_path / "end" / "model.safetensors")
    assert end["layer.weight"].tobytes() == some(1)["layer.weight"].tobytes()
    assert json.loads((tmp_path / "end" / "provenance.json").read_text())["chosen"]["alpha"] == 1


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--method", "greedy"], "chooses on development sets"),
        (["--method", "greedy"], "chooses on development sets"),
        (["--method", "interpolate"], "interpolate with --alpha"),
        (["--method", "unifrom"], "did you mean 'uniform'?"),
        (["--method", "uniform", "--alpha", "0.5"], "takes none"),
        (
            ["--method", "interpolate", "--alpha", "1.5"],
            "--alpha: Input should be less than or equal to 1; given: '1.5'",
        ),
        (["--method", "last", "--count", "0"], "--count: Input should be greater than or equal to 1"),
        (["--method", "last", "--count", "-1"], "given: '-1'"),
        (["--method", "window", "--from-step", "-1"], "--from-step: Input should be greater than or equal to 0"),
    ],
)
def test_what_can_not_be_done_by_hand_is_said(tmp_path, checkpoint, some, capsys, arguments, message):
    folders = [str(checkpoint(f"m{i}", some(i))) for i in range(2)]
    with pytest.raises(SystemExit) as stop:
        entry([*arguments, "--out", str(tmp_path / "out"), *folders])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_model_under_two_names_counts_once(tmp_path, checkpoint, some, capsys):
    folder = checkpoint("m", some(1))
    with pytest.raises(SystemExit):
        entry(["--method", "uniform", "--out", str(tmp_path / "o"), str(folder), str(folder / ".." / "m")])
    assert "a model is given twice" in capsys.readouterr().err


def test_nothing_is_overwritten(tmp_path, checkpoint, some, capsys):
    folder = str(checkpoint("m", some(1)))
    with pytest.raises(SystemExit):
        entry(["--method", "uniform", "--out", folder, str(checkpoint("n", some(2)))])
    assert "there is something already" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        entry(["--method", "interpolate", "--alpha", "0.5", "--out", str(tmp_path / "o"), folder])
    assert "exactly 2 models, 1 given" in capsys.readouterr().err


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_on_a_terminal_and_nothing_elsewhere(tmp_path, checkpoint, terminal):
    import pty

    folders = [checkpoint(f"m{i}", {"w": np.full(5_000_000, i, np.float32)}) for i in range(3)]
    command = [
        sys.executable,
        "-m",
        "consomme.average",
        "--method",
        "task_arithmetic",
        "--base",
        *map(str, folders[:1]),
    ]
    ours, theirs = pty.openpty() if terminal else os.pipe()
    job = subprocess.Popen([*command, "--out", str(tmp_path / "out"), *map(str, folders[1:])], stderr=theirs)
    os.close(theirs)
    said = b""
    while True:
        try:
            more = os.read(ours, 65536)
        except OSError:  # a terminal that nobody writes to any more
            break
        if not more:
            break
        said += more
    os.close(ours)
    assert job.wait() == 0
    assert (b"task_arithmetic" in said) == terminal and b"made" in said
    assert terminal or said.count(b"\n") == 1


@pytest.mark.parametrize(("languages", "named"), [(["fr", "fr"], "fr"), (["fr", "es"], None), (["fr", None], None)])
def test_an_average_names_a_language_only_if_all_its_models_name_it(tmp_path, folders, languages, named):
    models = []
    for number, language in enumerate(languages):
        models.append(shutil.copytree(folders("whisper"), tmp_path / str(number)))
        path = models[-1] / "generation_config.json"
        config = json.loads(path.read_text()) | {"language": language, "task": "transcribe"}
        path.write_text(json.dumps(config))
    entry(["--method", "uniform", "--out", str(tmp_path / "out"), *map(str, models)])
    config = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    assert (config.get("language"), config["task"]) == (named, "transcribe")


def test_an_average_of_models_of_short_windows_is_run_on_them_whatever_its_base_was(tmp_path, folders):
    models = []
    for name, more in [
        ("base", {"trained_window": "full"}),
        ("a", {"trained_window": "short"}),
        ("b", {"trained_window": "short"}),
    ]:
        models.append(shutil.copytree(folders("whisper"), tmp_path / name))
        path = models[-1] / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | more))
    base, *tuned = map(str, models)
    for name, given in {
        "merged": ["--method", "task_arithmetic", "--scale", "0.5", "--base", base, *tuned],
        "line": ["--method", "interpolate", "--alpha", "0.5", base, tuned[0]],
    }.items():
        entry([*given, "--out", str(tmp_path / name)])
    merged, line = (json.loads((tmp_path / name / "config.json").read_text()) for name in ("merged", "line"))
    assert merged["trained_window"] == "short"
    assert line["trained_window"] == "full"  # the first model's: half of it never saw a short window
