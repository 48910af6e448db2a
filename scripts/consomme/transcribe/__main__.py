"""`python -m consomme.transcribe MODEL AUDIO...`."""

from consomme.transcribe.command import main

if __name__ == "__main__":
    main()
