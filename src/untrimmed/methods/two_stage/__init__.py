"""Methods that judge proposals: segments that something else found in a video.

Each pools the features of a proposal, says which action it shows and how well it fits, and moves its ends. A batch
brings the proposals of its windows (``Batch.proposals``); what judges one proposal may look at the others through a
context (:mod:`untrimmed.methods.plugins.context`).
"""
