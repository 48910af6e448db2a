"""How the development loss lies between the models that averages are made of."""
