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
    pub(crate) mod browser;
    pub(crate) mod cached;
    pub(crate) mod certificates;
    pub(crate) mod client;
    pub(crate) mod cloud;
    pub(crate) mod connect_proxy;
    pub(crate) mod curl;
    pub(crate) mod device;
    pub(crate) mod directory;
    pub(crate) mod machine;
    pub(crate) mod memory;
    pub(crate) mod mqtt;
    pub(crate) mod namespace;
    pub(crate) mod release;
    pub(crate) mod scene;
    pub(crate) mod service;
    pub(crate) mod wait;
    pub(crate) mod websocket;
}

#[path = "c8y_proxy"]
mod promises {
    mod absence;
    mod access;
    mod big;
    mod bodies;
    mod breaking;
    mod broker_half_open;
    mod broker_packets;
    mod broker_tls;
    mod browsers;
    mod cache_broken;
    mod cache_clients;
    mod cache_command;
    mod cache_conditions;
    mod cache_disk;
    mod cache_eviction;
    mod cache_fresh;
    pub(crate) mod cache_index;
    mod cache_killed;
    mod cache_late;
    mod cache_oddities;
    mod cache_off;
    mod cache_offline;
    mod cache_private;
    pub(crate) mod cache_shared;
    mod cache_unusable;
    mod cache_users;
    mod cached;
    mod check;
    mod chromium;
    mod clients;
    mod command;
    mod connections;
    mod credentials;
    mod crowds;
    mod fields;
    mod guard;
    mod health_on_the_broker;
    mod life;
    mod local_tls;
    mod long_limits;
    mod malformed;
    mod network;
    mod own_authorization;
    mod refused_tokens;
    mod stand_ins;
    mod targets;
    mod thin_edge;
    mod through_proxy;
    mod token_command;
    mod token_from_either;
    mod token_over_https;
    mod tokens;
    mod unreachable;
    mod websocket;
}

#[path = "faults"]
mod faults {
    mod cache;
}
