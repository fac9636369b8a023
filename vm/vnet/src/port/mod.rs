//! Ports: what frames come from and go to.

pub(crate) mod fault;
pub(crate) mod host_port;
mod ping;
mod tcp_end;
pub(crate) mod tear;
pub(crate) mod vhost_port;
pub(crate) mod wire;
