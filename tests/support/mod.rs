//! What the process tests stand on.

pub(crate) mod bridge;
pub(crate) mod broker;
pub(crate) mod cloud;
pub(crate) mod connect_proxy;
pub(crate) mod mqtt;
pub(crate) mod websocket;
