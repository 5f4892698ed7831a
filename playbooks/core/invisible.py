"""Find characters that are invisible or change how others look. Names may not have them; other text shows them.

They are control characters, changes of the writing direction, characters without width, line separators, lone
surrogates, unassigned characters, and more accents on a letter than any language has.
"""

from __future__ import annotations

import re
import unicodedata

# In no category of those that cannot be printed, yet seen as nothing: Unicode's Default_Ignorable_Code_Point, and a
# blank Braille pattern.
_IGNORABLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
# What runners of CI take for a command to themselves, wherever it stands in a line: ##vso[…], ##[…], ##teamcity[…].
_COMMAND = re.compile(r"##(?=[a-z]*\[)")
_ACCENTS = ("Mn", "Me")
MAX_ACCENTS = 4  # on one letter
_ASCII_PICTURES = 0x2400  # ␀, and those after it
_DELETE = 0x7F


def is_invisible(character: str) -> bool:
    """Return whether a character is one of those. A blank of any width is not."""
    if character.isprintable():
        return not character.isascii() and _IGNORABLE.match(character) is not None
    return unicodedata.category(character) != "Zs"


def find_invisible(text: str) -> str | None:
    """Return the first such character in a text, as "U+202E"; None if there is none."""
    if text.isprintable() and text.isascii():
        return None
    accents = 0
    for character in text:
        accents = accents + 1 if unicodedata.category(character) in _ACCENTS else 0
        if is_invisible(character) or accents > MAX_ACCENTS:
            return f"U+{ord(character):04X}"
    return None


def visible(text: str) -> str:
    """Make invisible characters visible: control characters as pictures, others as ``<U+202E>``.

    A host's text must not control the terminal or the CI that shows it, nor look like something
    else.
    """
    text = _COMMAND.sub("# #", text)
    if text.isprintable() and text.isascii():
        return text
    shown: list[str] = []
    accents = 0
    for character in text:
        accents = accents + 1 if unicodedata.category(character) in _ACCENTS else 0
        if accents > MAX_ACCENTS:
            if accents == MAX_ACCENTS + 1:
                shown.append("<more accents>")
        elif is_invisible(character):
            shown.append(_picture(character))
        else:
            shown.append(character)
    return "".join(shown)


def _picture(character: str) -> str:
    code = ord(character)
    if code < ord(" "):
        return chr(_ASCII_PICTURES + code)
    return "␡" if code == _DELETE else f"<U+{code:04X}>"
