"""recompute.py FIXTURE...: checks that the oracle still gives the stored logits. Needs numpy. Exits 1 if it does not.
"""
import json
import os
import sys

import numpy as np

from llama_oracle import Llama

worst = 0.0
for folder in sys.argv[1:]:
    with open(os.path.join(folder, "expected.json")) as file:
        expected = json.load(file)
    for quant, stored in expected["logits"].items():
        logits = Llama(folder, quant).logits(expected["tokens"])[expected["first_position"] :]
        worst = max(worst, float(np.abs(logits - stored).max() / np.abs(stored).max()))
print(f"{len(sys.argv) - 1} fixtures, largest difference {worst:.1e} of the largest logit")
sys.exit(worst > 1e-7)
