"""`python -m batch_fracture` is the same as `batch-fracture`."""

from batch_fracture.cli import main

if __name__ == "__main__":
    main()
