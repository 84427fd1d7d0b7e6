"""Rules for the whole tree: small modules, a README whose code runs, links that lead somewhere."""

import re
from pathlib import Path

import pytest
from script_runs import run_python

ROOT = Path(__file__).parent.parent
LONGEST_MODULE = 400


@pytest.mark.parametrize(
    "path", sorted((ROOT / "swjax").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT))
)
def test_modules_stay_small(path):
    lines = len(path.read_text().splitlines())
    assert lines <= LONGEST_MODULE, f"{lines} lines: probably two ideas"


def run_code(page, folder):
    """Run the Python blocks of a page one after the other, in a process of their own.

    Pages change settings of JAX, such as its precision, that the other tests must not see.
    """
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    assert blocks
    run_python("-c", "\n".join(blocks), cwd=folder)


def test_the_code_of_the_readme_runs(tmp_path):
    run_code(ROOT / "README.md", tmp_path)


GUIDES = [
    p for p in sorted((ROOT / "docs" / "guides").glob("*.md")) if "```python\n" in p.read_text()
]


@pytest.mark.slow
@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_the_code_of_the_guides_runs(page, tmp_path):
    run_code(page, tmp_path)


@pytest.mark.parametrize("page", sorted([*ROOT.glob("*.md"), *ROOT.glob("experiments/*.md")]))
def test_links_to_files_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
