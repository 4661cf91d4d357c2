"""The edge: one file a trigger, which decodes what came in and calls one step. Nothing is decided here."""
