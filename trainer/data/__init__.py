"""Labelled data: reading, checking and preparing it."""
