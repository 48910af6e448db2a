"""python -m consomme.prune"""

from consomme.common.stage import main
from consomme.prune.stage import run

if __name__ == "__main__":
    main(run, "Take layers and attention heads out of a model.")
