"""The broker from an operator's side: topology, queue depths, dead letters and their replay."""
