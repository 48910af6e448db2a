"""python -m consomme.landscape --spec JSON_OR_FILE --inputs PATH... --out DIGEST.json"""

from consomme.common.stage import main
from consomme.landscape.stage import run

if __name__ == "__main__":
    main(
        run, "Measure the development loss between models: from the best to each other, and of means of more and more."
    )
