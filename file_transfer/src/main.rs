//! file_transfer
fn main() {}
