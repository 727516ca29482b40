//! The Cumulocity Proxy: `/c8y/{path}` here is `/{path}` there, with the device's credentials.

pub mod credentials;
mod relay;
