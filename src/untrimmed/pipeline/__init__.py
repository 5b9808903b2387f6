"""What the commands do, each under the name of its command: from a recipe or files to files."""
