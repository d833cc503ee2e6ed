"""What trained networks are worth: predictions and ensembles, recorded runs, studies over several seeds.

predict("runs/cifar10", crops=10).error(5)            # or recorded_run("shapes-laptop") in place of a folder
compare(read_study("kernels"))
"""

from inception_lab.common.statistics import holm
from inception_lab.evaluation.answers import Answers, recorded_answers
from inception_lab.evaluation.comparison import compare, together, verdicts
from inception_lab.evaluation.inference import guess, predict
from inception_lab.evaluation.predictions import Predictions, average, ladder, mcnemar, paired
from inception_lab.evaluation.records import recorded_predictions, recorded_run, recorded_runs
from inception_lab.evaluation.studies import STUDIES, Study
from inception_lab.evaluation.study_run import run_study
from inception_lab.evaluation.study_table import OBJECT_SCALES, read_study

__all__ = [
    "OBJECT_SCALES",
    "STUDIES",
    "Answers",
    "Predictions",
    "Study",
    "average",
    "compare",
    "guess",
    "holm",
    "ladder",
    "mcnemar",
    "paired",
    "predict",
    "read_study",
    "recorded_answers",
    "recorded_predictions",
    "recorded_run",
    "recorded_runs",
    "run_study",
    "together",
    "verdicts",
]
