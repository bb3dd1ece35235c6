//! Runs the models and says what it found.

fn main() {}
