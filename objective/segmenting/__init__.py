"""Cut long recordings with their transcripts into a corpus: the parts of `tacotune segment`."""
