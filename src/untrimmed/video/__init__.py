"""Video files to frames: reading in order, random access, optical flow, and a small writer."""

from untrimmed.video.decode import Frames, VideoInfo, VideoWarning, probe, read_frames
from untrimmed.video.reader import FrameReader
from untrimmed.video.write import VideoWriter

__all__ = ["FrameReader", "Frames", "VideoInfo", "VideoWarning", "VideoWriter", "probe", "read_frames"]
