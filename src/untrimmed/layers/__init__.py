"""Parts of networks that can be used alone, in steps. Shapes: B batch, C channels, T time steps."""
