"""Tuning in the background: jobs that survive, triggers, the gate's decision carried out."""
