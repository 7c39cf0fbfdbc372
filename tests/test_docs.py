"""Pages for readers: each says first what it is good for, and their links lead somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_opens_with_what_its_reader_can_do_after_it(page):
    assert "After this page you" in " ".join(page.read_text().split("\n\n")[1].split())


@pytest.mark.parametrize("page", [*PAGES, *ROOT.glob("*.md")], ids=lambda page: page.stem)
def test_links_lead_to_files_and_headings_that_are_there(page):
    text = re.sub(r"^    .*$|```.*?```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)  # without code
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)]*)\)", text):
        other = page.parent / target if target else page
        assert other.exists(), target
        if anchor and other.suffix == ".md":
            assert anchor in anchors(other.read_text()), f"{target}#{anchor}"


def anchors(text: str) -> set[str]:
    """The names that forges give to a page's headings."""
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


def test_the_readme_is_read_in_a_minute_or_two():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 160
