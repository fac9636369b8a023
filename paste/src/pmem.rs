//! Pmem: stores that survive power loss, as a protocol in the types.
//!
//! ```text
//!   region.batch()   store ... cover ...   flush()    drain()     publish(.., &Durable)
//!   -------------->  Unflushed  --------> Flushed --> Durable --> Durable
//! ```
//!
//! Flushed data may not be durable yet, and stores that nobody flushed may well be: caches
//! evict lines when they like. Only `Durable` promises anything, and only `publish` makes other
//! data reachable, so it asks for one.

#[expect(unsafe_code, reason = "cache-line write-back instructions")]
pub(crate) mod cpu;
pub(crate) mod line;
pub(crate) mod page;
pub(crate) mod promise;
#[cfg(test)]
pub(crate) mod recorded;
pub(crate) mod region;
