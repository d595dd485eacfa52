"""Train both stages on simulated photographs and look at the error."""

import sys

from twostage import load_config, train

metrics = train(load_config(["experiment=smoke", "run=simulated", *sys.argv[1:]]))

print(f"two stages                {metrics['rmse']:.3g}")
print(f"the true bin given        {metrics['rmse_oracle']:.3g}")
print(f"colour statistics, ridge  {metrics['rmse_colour_baseline']:.3g}")
print(f"bins that are right       {100 * metrics['bin_accuracy']:.0f} %")
