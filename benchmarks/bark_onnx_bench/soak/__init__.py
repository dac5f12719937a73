"""Many requests on a server: is every answer complete and its own, and does the server keep its size?"""
