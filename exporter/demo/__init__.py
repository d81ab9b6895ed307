"""The main job on real data: a delay classifier watched over a year of flights."""
