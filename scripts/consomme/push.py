"""Put a finished model on the Hugging Face hub: consomme push FOLDER OWNER/NAME."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from consomme.common.errors import ConsommeError, exit_on_error
from consomme.common.files import read_json

NOT_SENT = [".*", "checkpoints/**", "adapter/**", "tensorboard/**", "progress.jsonl", "search.tsv"]


def main(argv: list[str] | None = None, prog: str = "python -m consomme.push") -> None:
    """The command. Exit code 2 and a message for errors."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Put a finished model or export on the Hugging Face hub, with its card from the report. Nothing else is "
        "ever sent anywhere.",
    )
    parser.add_argument("model", type=Path, help="its folder, such as results/EXPERIMENT/current/NODE")
    parser.add_argument("name", help="OWNER/NAME of the repository, which is made if there is none")
    parser.add_argument("--public", action="store_true", help="a repository that is made is public (default: private)")
    given = parser.parse_args(argv)
    with exit_on_error():
        print(push(given.model, given.name, private=not given.public))


def push(folder: Path, name: str, private: bool = True) -> str:
    """Upload the folder; returns the address of the repository. ConsommeError if it holds no finished model, or the hub
    refuses."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    if not (folder / "provenance.json").is_file():
        raise ConsommeError(f"{folder}: no finished model, as it has no provenance.json")
    card = _card(folder)
    api = HfApi()
    try:
        address = api.create_repo(name, private=private, exist_ok=True)
        ignored = [*NOT_SENT, *(["README.md"] if card else [])]
        api.upload_folder(
            repo_id=name, folder_path=folder.resolve(), ignore_patterns=ignored, commit_message="Consommé: the model"
        )
        if card:
            api.upload_file(
                path_or_fileobj=card.read_bytes(),
                path_in_repo="README.md",
                repo_id=name,
                commit_message="Consommé: its card",
            )
    except HFValidationError as error:
        raise ConsommeError(f"'{name}' is no name of a repository; OWNER/NAME is") from error
    except HfHubHTTPError as error:
        raise ConsommeError(
            f"{name}: the hub refuses: {str(error).splitlines()[0]}. `hf auth login` with a token that may write there"
        ) from error
    except OSError as error:
        raise ConsommeError(f"{name}: the hub can't be reached ({type(error).__name__}: {str(error)[:200]})") from error
    return str(address)


def _card(folder: Path) -> Path | None:
    """The model's card in its experiment's report; None, with a word, where there is none."""
    label = read_json(folder / "provenance.json").get("label") or {}
    name = "-".join(str(label[key]) for key in ("node", "run") if label.get(key))
    path = folder.resolve().parent.parent / "cards" / f"{name}.md"
    if path.is_file():
        return path
    if (folder / "README.md").is_file():
        return None
    print(
        f"no card of {name} in the report, as cards are made of exports and of the last model; it goes without one",
        file=sys.stderr,
    )
    return None


if __name__ == "__main__":
    main()
