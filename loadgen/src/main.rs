//! The generator as a program.

fn main() {}
