"""How much is measured where nothing else is asked for."""

PROMPTS, REPEAT = 6, 3
QUICK_PROMPTS, QUICK_REPEAT = 2, 1
ACCEPTANCES = (0.7, 0.8, 0.9, 0.95)
