"""What goes to the hub, when it is asked for by name."""

import json

import pytest
from huggingface_hub.errors import HFValidationError

from consomme.push import main


@pytest.fixture
def hub(monkeypatch):
    """Calls of the hub's interface; nothing is sent."""
    calls = []

    class Api:
        def create_repo(self, name, **more):
            if "/" not in name:
                raise HFValidationError("no")
            calls.append(("create", name, more))
            return f"https://hub/{name}"

        def upload_folder(self, **more):
            calls.append(("folder", more))

        def upload_file(self, **more):
            calls.append(("file", more))

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    return calls


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "e/models/small-0123"
    folder.mkdir(parents=True)
    label = {"experiment": "e", "node": "small", "run": "", "replicate": 1}
    (folder / "provenance.json").write_text(json.dumps({"label": label}))
    current = tmp_path / "e/current"
    current.mkdir()
    (current / "small").symlink_to(folder)
    return current / "small"


def test_a_model_goes_with_its_card_into_a_private_repository(model, hub, capsys):
    cards = model.parent.parent / "cards"
    cards.mkdir()
    (cards / "small.md").write_text("# the card")
    main([str(model), "me/small"])
    (_, name, made), (_, sent), (_, card) = hub
    assert name == "me/small" and made["private"] and capsys.readouterr().out == "https://hub/me/small\n"
    assert sent["folder_path"].name == "small-0123" and "README.md" in sent["ignore_patterns"]
    assert (card["path_in_repo"], card["path_or_fileobj"]) == ("README.md", b"# the card")


def test_without_a_card_it_says_so(model, hub, capsys):
    main([str(model), "me/small", "--public"])
    assert [call[0] for call in hub] == ["create", "folder"] and not hub[0][2]["private"]
    assert "no card of small" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "words"), [("small", "OWNER/NAME is"), ("", "OWNER/NAME is")])
def test_a_wrong_name_is_told(model, hub, capsys, name, words):
    with pytest.raises(SystemExit) as stopped:
        main([str(model), name])
    assert stopped.value.code == 2 and words in capsys.readouterr().err


def test_only_finished_models_are_sent(tmp_path, hub, capsys):
    with pytest.raises(SystemExit):
        main([str(tmp_path), "me/small"])
    assert "no finished model" in capsys.readouterr().err and not hub
