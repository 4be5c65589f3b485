"""Labelled data from uploads: single files, archives, DICOM."""
