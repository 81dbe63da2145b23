"""A local page to browse the clips of a study."""
