"""Labelling simulated on labelled data: Dice against number of labels, for every order."""
