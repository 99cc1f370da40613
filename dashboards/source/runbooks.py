"""The runbooks as a dashboard, so that a link on a panel leads to words wherever Grafana runs."""

from pathlib import Path

from panels import RUNBOOKS, Dashboard, Note

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "runbooks"
# Of a panel: a line of text, and what is around the text.
LINES_TO_HEIGHT = 0.55
CHARACTERS_TO_LINE = 85


def numbers() -> dict[str, int]:
    """The panel of each alert."""
    return {path.stem: number for number, path in enumerate(pages(), 1)}


def pages() -> list[Path]:
    return sorted(path for path in FOLDER.glob("*.md") if path.stem != "README")


def runbooks() -> Dashboard:
    notes = []
    for path in pages():
        title, _, text = path.read_text().partition("\n")
        lines = sum(1 + len(line) // CHARACTERS_TO_LINE for line in text.strip().splitlines())
        notes.append(Note(
            title.removeprefix("# "), "", [], width=12, height=round(2 + LINES_TO_HEIGHT * lines),
            text=text.strip(),
        ))
    return Dashboard(
        RUNBOOKS, "Slotway: runbooks",
        "What each alert means, where to look first, and what to do.", [("", notes)],
    )
