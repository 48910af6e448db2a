"""python -m consomme.average"""

from consomme.average.stage import entry

if __name__ == "__main__":
    entry()
