//! Every example runs to its end.
