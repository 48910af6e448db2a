"""python -m consomme.relabel --spec JSON_OR_FILE --inputs PATH... --out PREPARED.json"""

from consomme.common.stage import main
from consomme.relabel.stage import run

if __name__ == "__main__":
    main(run, "Let a model write one side of a prepared corpus anew, and keep the rows that it is good at.")
