"""The rules on the reference: is it what they say? Left out of the wheel, whose reference this repository tests."""
