"""In this folder `bundle` and `bark` are the generated model with the published token space."""

from generated import bark as bark
from generated import bundle as bundle
from generated import checkpoint as checkpoint
from generated import model as model
from generated import traced_once as traced_once
