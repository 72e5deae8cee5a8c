"""What a run of a scenario has measured, in whichever world: tables, series, verdicts, and the summary document."""
