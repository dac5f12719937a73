"""How many replicas a load needs: a simulation with rates that were measured."""
