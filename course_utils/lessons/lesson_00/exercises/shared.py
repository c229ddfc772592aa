"""Messages on removed tokens, shared by exercises of lesson 00."""

STILL_DRAWN = (
    "You give removed tokens a very low logit. Use -inf: their probability is then exactly 0, whatever the "
    "other logits and the temperature are."
)
ZERO_IS_A_LOGIT = "A logit of 0 still has a probability: exp(0) is 1. Removed tokens need -inf."
