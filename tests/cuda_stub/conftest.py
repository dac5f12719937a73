"""The generated checkpoint, which the bundles are exported from."""

from generated import checkpoint as checkpoint
from generated import model as model
from generated import traced_once as traced_once
