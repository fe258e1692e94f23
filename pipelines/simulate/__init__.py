"""A patient made of numbers: a kinematic body that exercises, and a player that streams it as the portal would."""
