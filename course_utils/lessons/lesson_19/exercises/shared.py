"""What exercises of lesson 19 share: what to run again."""

AGAIN = "Run the cells again from here to the end of the training."
