"""What exercises of lesson 00 share: messages on removed tokens."""

STILL_DRAWN = (
    "A removed token gets a very low logit here. Use -inf: its probability is then exactly 0, whatever the "
    "other logits and the temperature are."
)
ZERO_IS_A_LOGIT = "A logit of 0 still has a probability: exp(0) is 1. Removed tokens need -inf."
