"""One module for each tool. It imports its tool, so it is run by the interpreter that has it, never imported here."""
