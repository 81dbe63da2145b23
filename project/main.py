"""``python -m project.main ...`` is ``vaclip train ...``."""

from vaclip.commands.train import main

if __name__ == "__main__":
    main()
