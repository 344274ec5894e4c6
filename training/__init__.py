"""From labelled radiographs to a bundle. Read `train.py` first."""
