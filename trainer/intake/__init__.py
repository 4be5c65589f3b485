"""Taking labelled data in: archives, folders and single files, checked before anything is kept."""
