"""From images of any size to landmarks in pixels and millimetres."""
