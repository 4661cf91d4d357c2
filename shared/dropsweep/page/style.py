"""Colours, style sheet, the little script, and the policy under which the page runs.

Colours:
    Ranked trials: viridis by S. van der Walt and N. Smith (matplotlib 2.0, public domain, CC0), sixteen even samples
    (0, 17, …, 255 of 256). It rises evenly in lightness, so it reads with every kind of colour blindness and in grey.
    The end that would vanish into the paper is left out, and the best trial has the end with the most contrast: dark
    violet by day, yellow by night.
    States (`report.css`): hues after M. Okabe and K. Ito, Color Universal Design (2008), darkened by day and lightened
    by night until they carry text; each state is also said in words.
"""

import base64
import hashlib
from pathlib import Path
from typing import Final

VIRIDIS: Final = (
    *("#440154", "#481a6c", "#472f7d", "#414487", "#39568c", "#31688e", "#2a788e", "#23888e"),
    *("#1f988b", "#22a884", "#35b779", "#54c568", "#7ad151", "#a5db36", "#d2e21b", "#fde725"),
)
NUM_TONES: Final = 16
"""Colours for ranks: `m0` is the worst, `m15` the best."""
_DAY: Final = (0.78, 0.02)
_NIGHT: Final = (0.24, 1.0)


def viridis(position: float) -> str:
    """Returns the colour at `position` (0 dark violet to 1 yellow) as `#rrggbb`, linear between the samples in sRGB."""
    at = max(0.0, min(1.0, position)) * (len(VIRIDIS) - 1)
    low = min(int(at), len(VIRIDIS) - 2)
    before, after = (bytes.fromhex(VIRIDIS[index][1:]) for index in (low, low + 1))
    return "#" + bytes(round(a + (b - a) * (at - low)) for a, b in zip(before, after, strict=True)).hex()


def _tones(span: tuple[float, float]) -> str:
    worst, best = span
    colours = [viridis(worst + (best - worst) * tone / (NUM_TONES - 1)) for tone in range(NUM_TONES)]
    return "\n".join(f".m{tone} {{ --c: {colour}; }}" for tone, colour in enumerate(colours))


def _read(file: str) -> str:
    # Text mode turns a checkout's line ends into \n, as a browser does before it compares the digest.
    return Path(__file__).with_name(file).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


SHEET: Final = _read("report.css")
DAY_TONES: Final = _tones(_DAY)
NIGHT_TONES: Final = _tones(_NIGHT)
CSS: Final = f"{DAY_TONES}\n@media screen and (prefers-color-scheme: dark) {{\n{NIGHT_TONES}\n}}\n{SHEET}"
SCRIPT: Final = _read("report.js")
POLICY: Final = (
    f"default-src 'none'; style-src {_digest(CSS)}; script-src {_digest(SCRIPT)}; base-uri 'none'; form-action 'none'"
)
"""Content-Security-Policy: nothing is fetched, and no style or script runs but this package's own, byte for byte."""
