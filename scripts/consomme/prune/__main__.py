"""python -m consomme.prune"""

from consomme.common.stage import main
from consomme.prune.stage import run

if __name__ == "__main__":
    main(run, "Take layers, attention heads and neurons out of a model.")
