//! Process tests of the Cumulocity Proxy: the real program between real clients and a stand-in
//! for the cloud. One file per promise of its contract.
#![allow(dead_code, reason = "what stands in for the world is shared by several test programs")]
#![allow(clippy::unwrap_used, reason = "this is all test code")]

mod support;
