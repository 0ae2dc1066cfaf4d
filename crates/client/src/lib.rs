//! The staircase: how everything above the API server talks to it
