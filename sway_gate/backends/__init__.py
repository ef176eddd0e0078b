"""What runs the models. Before any of it is imported, a library of peft is made quiet."""

import logging

# peft imports it if it is installed; it warns about kernels that few devices have.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
