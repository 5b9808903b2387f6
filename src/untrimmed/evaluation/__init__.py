"""Detections and truth in, numbers out; pure functions, frozen results, no torch."""

from untrimmed._moved import renamed
from untrimmed.evaluation.buckets import Bucket, Characteristic
from untrimmed.evaluation.changes import Change, Changes, find_changes
from untrimmed.evaluation.comparison import Comparison, Difference, compare
from untrimmed.evaluation.diagnosis import Diagnosis, FalsePositives, diagnose
from untrimmed.evaluation.notes import Notes
from untrimmed.evaluation.proposals import ProposalScores, evaluate_proposals
from untrimmed.evaluation.protocols import PROTOCOLS, Protocol
from untrimmed.evaluation.recall import AverageRecall, RecallAtK, average_recall, recall_at_k, recall_of_all
from untrimmed.evaluation.scoring import Evaluation, Intervals, LengthGroup, evaluate

__all__ = [
    "PROTOCOLS",
    "AverageRecall",
    "Bucket",
    "Change",
    "Changes",
    "Characteristic",
    "Comparison",
    "Diagnosis",
    "Difference",
    "Evaluation",
    "FalsePositives",
    "Intervals",
    "LengthGroup",
    "Notes",
    "ProposalScores",
    "Protocol",
    "RecallAtK",
    "average_recall",
    "compare",
    "diagnose",
    "evaluate",
    "evaluate_proposals",
    "find_changes",
    "recall_at_k",
    "recall_of_all",
]


__getattr__ = renamed(__name__, {"Oddities": "Notes"})
