"""From a file to numbers: whatever a camera, a phone or a program wrote becomes an upright square of sRGB."""
