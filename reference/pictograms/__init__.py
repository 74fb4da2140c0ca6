"""The second world: pictograms of Noto Emoji, one to three in a picture, placed by caption."""
