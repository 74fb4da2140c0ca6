"""python -m reference.pictograms.make_captions: train the captions' tokenizer on the captions of the training scenes.

A build step for people who change the world, after `make_sheet`. The same sheet gives the same file, byte for byte.
"""

import sys

from mulo_sd.engines.commands.command_line import command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.engines.files.paths import user_path
from mulo_sd.engines.files.whole_files import check_writable, write_text_whole
from mulo_sd.reference.pictograms.examples import CAPTIONS_FILE
from mulo_sd.reference.pictograms.scenes import scene
from mulo_sd.reference.trained.caption_tokenizer import train_caption_tokenizer

SCENES = 100_000
VOCABULARY = 1500  # ids at most


@command
def main() -> int:
    """Train and write it."""
    parser = command_parser("reference.pictograms.make_captions", __doc__)
    parser.add_argument("--out", type=user_path, default=CAPTIONS_FILE, help="file; default: the shipped one")
    arguments = parser.parse_args()
    try:
        check_writable(arguments.out)
    except OSError as error:
        parser.error(f"--out: {arguments.out}: cannot write it: {error.strerror or error}")
    tokenizer = train_caption_tokenizer((scene(index).caption for index in range(SCENES)), VOCABULARY)
    write_text_whole(arguments.out, tokenizer.to_str(pretty=True))
    print(f"wrote {tokenizer.get_vocab_size()} ids to {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
