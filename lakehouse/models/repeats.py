"""When data that are seen again are worth a word.

Source: Muennighoff et al. 2023 (arXiv:2305.16264): up to four epochs repeated tokens are nearly as good as new.
"""

FEW_EPOCHS = 4.0
NOTICED = 1.05  # epochs; a twentieth of the tokens again is less than the tokens of a run are rounded by
