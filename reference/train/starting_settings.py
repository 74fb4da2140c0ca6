"""The settings that a new bundle starts from until `mulo-sd calibrate` finds better ones."""

from mulo_sd.reference.settings import Settings

# What holds on the pictograms, whose captions do not say where things stand, as a folder's do not. Windows, a nucleus
# and a draft that is cut short lose what should stand there (docs/pictograms.md).
STARTING_SETTINGS = Settings(
    mode="parallel",
    guidance_scale=1.2,
    temperature=0.6,
    drafters=(1,),
    tau=0.2,
    radius=1,
    anchor=16.0,
    neighbours=16,
    draft_by="sweeps",
    resample_by="sweeps",
    sweeps=2,
)
