"""Pages of the site that lie elsewhere in the repository, and the reference, which is made of the settings."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from reference import pages as reference_pages

ROOT = Path(__file__).resolve().parents[2]
# page of the site: its source; all paths from the root of the repository
ELSEWHERE = {
    "docs/index.md": "README.md",
    "docs/configuration.md": "config/README.md",
    "docs/contributing.md": "CONTRIBUTING.md",
    "docs/changelog.md": "CHANGELOG.md",
}
LINK = re.compile(r"(?<!`)(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s:]*?)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for page, source in ELSEWHERE.items():
        files.append(File.generated(config, page.removeprefix("docs/"), content=(ROOT / source).read_text("utf-8")))
    for name, text in reference_pages():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links are written for a reader of the repository; those that leave docs/ are turned to the site's pages."""
    here = f"docs/{page.file.src_uri}"
    source = ELSEWHERE.get(here, here)
    return LINK.sub(lambda found: turned(found, posixpath.dirname(here), posixpath.dirname(source)), markdown)


def turned(link: re.Match[str], here: str, source: str) -> str:
    """The same link from a page in folder `here`; what the site doesn't hold becomes plain text."""
    picture, text, path, anchor = link[1], link[2], link[3], link[4] or ""
    if not path:
        return link[0]
    target = posixpath.normpath(posixpath.join(source, path))
    if (ROOT / target).is_dir():
        target = f"{target}/README.md"
    target = next((page for page, origin in ELSEWHERE.items() if origin == target), target)
    if not target.startswith("docs/"):
        return text
    return f"{picture}[{text}]({posixpath.relpath(target, here)}{anchor})"
