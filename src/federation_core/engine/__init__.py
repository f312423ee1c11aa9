"""Driving runs: the loop that takes a run on, and the engines that call it."""
