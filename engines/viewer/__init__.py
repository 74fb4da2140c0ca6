"""A decode to look at: frames of its steps, a page that replays them, and the service's own page.

`frames` turns the steps of `engines/service/steps.py` into what pages and other programs read; `page` puts the files of
`assets/` together into pages that need nothing else.
"""

from mulo_sd.engines.viewer.frames import Frame, FrameMaker, chosen_steps, frames_of
from mulo_sd.engines.viewer.page import app_html, viewer_html
from mulo_sd.engines.viewer.policy import content_security_policy

__all__ = ["Frame", "FrameMaker", "app_html", "chosen_steps", "content_security_policy", "frames_of", "viewer_html"]
