"""What is left out of a folder, by kind."""

from typing import NamedTuple

# Kinds of files, as the last line counts them.
EMPTY = "empty"
TOO_LARGE = "too large a file"
TOO_MANY_PIXELS = "too many pixels"
TOO_SMALL = "too small"
NO_PICTURE = "no picture inside"
TRUNCATED = "truncated"
BROKEN = "broken"
ANIMATED = "animated or of several pages"
UNKNOWN_PIXELS = "pixels of an unknown kind"
UNREADABLE = "unreadable"
LINK_OUT = "link out of the folder"
LINK_TO_FOLDER = "link to a folder"
NOT_PLAIN = "not a plain file"
# Kinds of captions.
CAPTION_LINE = "caption line that cannot be used"
CAPTION_OUTSIDE = "caption of a path outside the folder"
CAPTION_TEXT = "text file that cannot be used"


class Problem(NamedTuple):
    """One thing that is left out.

    Attributes:
        kind: As the last line counts it.
        name: The file, relative to the folder, or the caption file and its line.
        why: What was expected and what came.
    """

    kind: str
    name: str
    why: str
