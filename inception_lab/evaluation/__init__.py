"""What trained networks are worth: predictions and ensembles, recorded runs, studies over several seeds.

predict("runs/cifar10", crops=10).error(5)
studies.compare(studies.read("kernels"))
"""

from inception_lab.evaluation import records, studies
from inception_lab.evaluation.inference import predict
from inception_lab.evaluation.predictions import Predictions, average, ladder
from inception_lab.evaluation.records import PLACE
from inception_lab.evaluation.scaling import forecast

__all__ = ["PLACE", "Predictions", "average", "forecast", "ladder", "predict", "records", "studies"]
