"""Links of README, CONTRIBUTING and the pages of docs/.

Sphinx checks those within the site. Here: files that README and CONTRIBUTING link exist, and addresses
of other sites are well-formed. They are not visited, since a test must not depend on them.
"""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[1]
OUTSIDE = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("backends/*/README.md")]
PAGES = [*OUTSIDE, *(path for path in sorted(ROOT.glob("docs/**/*.md")) if "_build" not in path.parts)]


def links(path: Path) -> list[str]:
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    return re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|srcset)="([^"]+)"', text)


def of_other_sites(path: Path) -> list[str]:
    return [each for each in links(path) if "://" in each]


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: str(path.relative_to(ROOT)))
def test_linked_files_exist(path: Path) -> None:
    for link in set(links(path)) - set(of_other_sites(path)):
        target = link.partition("#")[0]
        assert not target or (path.parent / target).exists(), f"{path.name} links {link}"


def test_addresses_are_well_formed() -> None:
    found = {each: path for path in PAGES for each in of_other_sites(path)}
    assert len(found) > 3
    for address, path in found.items():
        parts = urlsplit(address)
        is_fine = parts.scheme == "https" and re.fullmatch(r"[\w-]+(\.[\w-]+)+", parts.netloc)
        assert is_fine, f"{path.relative_to(ROOT)}: {address}"
