"""python -m consomme.start --spec JSON_OR_FILE [--inputs PREPARED_CORPUS...] --out MODEL"""

from consomme.common.stage import main
from consomme.start.stage import run

if __name__ == "__main__":
    main(run, "Make a model folder from the hub, from a folder, or with random weights.")
