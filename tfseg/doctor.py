"""python -m tfseg.doctor [--full] [--config configs/X.yaml] [--records DIR] [--json FILE]"""

from tfseg.diagnostics.doctor import main
from tfseg.io import command

if __name__ == "__main__":
    command.run(main)
