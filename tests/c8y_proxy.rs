//! Process tests of the Cumulocity Proxy: the real program between real clients and a stand-in
//! for the cloud, one file per promise of its contract.
#![allow(dead_code, reason = "what the tests stand on is shared by several test programs")]
#![allow(clippy::unwrap_used, reason = "this is all test code")]
#![allow(clippy::disallowed_methods, reason = "tests have no executor to stall")]

#[path = "support"]
mod support {
    pub(crate) mod answer;
    pub(crate) mod bridge;
    pub(crate) mod broker;
    pub(crate) mod certificates;
    pub(crate) mod client;
    pub(crate) mod cloud;
    pub(crate) mod connect_proxy;
    pub(crate) mod directory;
    pub(crate) mod http_client;
    pub(crate) mod machine;
    pub(crate) mod memory;
    pub(crate) mod mqtt;
    pub(crate) mod service;
    pub(crate) mod wait;
    pub(crate) mod websocket;
}

#[path = "c8y_proxy/absence.rs"]
mod absence;
#[path = "c8y_proxy/big.rs"]
mod big;
#[path = "c8y_proxy/bodies.rs"]
mod bodies;
#[path = "c8y_proxy/breaking.rs"]
mod breaking;
#[path = "c8y_proxy/broker_tls.rs"]
mod broker_tls;
#[path = "c8y_proxy/check.rs"]
mod check;
#[path = "c8y_proxy/clients.rs"]
mod clients;
#[path = "c8y_proxy/command.rs"]
mod command;
#[path = "c8y_proxy/connections.rs"]
mod connections;
#[path = "c8y_proxy/credentials.rs"]
mod credentials;
#[path = "c8y_proxy/device.rs"]
mod device;
#[path = "c8y_proxy/fields.rs"]
mod fields;
#[path = "c8y_proxy/guard.rs"]
mod guard;
#[path = "c8y_proxy/life.rs"]
mod life;
#[path = "c8y_proxy/local_tls.rs"]
mod local_tls;
#[path = "c8y_proxy/long_limits.rs"]
mod long_limits;
#[path = "c8y_proxy/malformed.rs"]
mod malformed;
#[path = "c8y_proxy/network.rs"]
mod network;
#[path = "c8y_proxy/own_authorization.rs"]
mod own_authorization;
#[path = "c8y_proxy/stand_ins.rs"]
mod stand_ins;
#[path = "c8y_proxy/targets.rs"]
mod targets;
#[path = "c8y_proxy/through_proxy.rs"]
mod through_proxy;
#[path = "c8y_proxy/tokens.rs"]
mod tokens;
#[path = "c8y_proxy/unreachable.rs"]
mod unreachable;
#[path = "c8y_proxy/websocket.rs"]
mod websocket;
