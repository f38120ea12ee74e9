"""Put a new output layer on an encoder, and decide which parameters are trained."""

from ftkit.stages.head.stage import *
