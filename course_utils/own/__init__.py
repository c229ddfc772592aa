"""Lesson 17's tool for your own data: file, split, run, verdict, report, rating, export."""
