"""The tool for data of one's own that lesson 17 shows: file, split, run, verdict, report, rating, export."""
