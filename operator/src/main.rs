//! The `kamaji` program.

fn main() {}
