"""The roofline: how much work a stage is, how fast this machine can be, and so the least time the work can take."""
