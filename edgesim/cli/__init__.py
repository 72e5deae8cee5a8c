"""The edgesim command, one file per subcommand."""
