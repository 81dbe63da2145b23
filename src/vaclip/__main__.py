"""``python -m vaclip`` is the command line."""

from vaclip.commands.main import main

if __name__ == "__main__":
    main()
