"""python -m consomme.export"""

from consomme.common.stage import main
from consomme.export.stage import run

if __name__ == "__main__":
    main(run, "Write a model in another format, and compare its outputs with the original's.")
