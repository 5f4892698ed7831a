"""Invisible characters and those that change how others look: refused in names, made visible in other text.

Control characters, changes of the writing direction, characters without width, line separators, halves of characters,
what is not assigned, and more accents on a letter than any language has.
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
    """Whether a character is one of those. A blank, of whatever width, is not: it is seen."""
    if character.isprintable():
        return not character.isascii() and _IGNORABLE.match(character) is not None
    return unicodedata.category(character) != "Zs"


def find_invisible(text: str) -> str | None:
    """The first of them in a text, as a person reads it: "U+202E"; None if there is none."""
    if text.isprintable() and text.isascii():
        return None
    accents = 0
    for character in text:
        accents = accents + 1 if unicodedata.category(character) in _ACCENTS else 0
        if is_invisible(character) or accents > MAX_ACCENTS:
            return f"U+{ord(character):04X}"
    return None


def visible(text: str) -> str:
    """A text in which nothing is invisible: control characters have pictures, others are shown as ``<U+202E>``.

    What a host says must not steer the terminal it is shown on, or the CI whose log it is in, nor look like something
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
