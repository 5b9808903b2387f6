"""Annotations and detections in memory, scored and compared as the official scorer does. Needs no files."""

from untrimmed import Annotations, Detections, Instances, Video, compare, evaluate

truth = Annotations.of(
    [
        Video("a", "test", 60.0, instances=Instances([[5.0, 12.0], [30.0, 34.0]], ("jump", "wave"))),
        Video("b", "test", 40.0, instances=Instances([[3.0, 9.0]], ("jump",))),
    ]
)
first = Detections.of([("a", "jump", 5.2, 12.5, 0.9), ("a", "wave", 28.0, 34.0, 0.6), ("b", "jump", 20.0, 25.0, 0.4)])
second = Detections.of([("a", "jump", 5.0, 12.1, 0.8), ("a", "wave", 30.1, 34.0, 0.7), ("b", "jump", 3.0, 8.5, 0.5)])

print(evaluate(first, truth, "activitynet", subset="test"))
print(evaluate(second, truth, "activitynet", subset="test"))
print(compare(first, second, truth, "activitynet", subset="test"))
