"""python -m consomme.evaluate --spec JSON_OR_FILE --inputs PATH... --out INDEX.json"""

from consomme.common.stage import main
from consomme.evaluate.stage import run

if __name__ == "__main__":
    main(run, "Transcribe or translate a model's development and test sets, and score the result.")
