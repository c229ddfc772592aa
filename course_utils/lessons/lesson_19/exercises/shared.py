"""Shared by exercises of lesson 19: which cells to run again."""

AGAIN = "Run the cells again from here to the end of the training."
