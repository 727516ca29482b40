//! c8y_proxy
fn main() {}
