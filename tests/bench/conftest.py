"""The generated checkpoint, of which the comparisons with other programs need one."""

from generated import checkpoint as checkpoint
from generated import model as model
from generated import traced_once as traced_once
