//! Image: what the library recovers on the host from what a loss of power left of an NVDIMM.

use anyhow::Context;
use paste_net::{Log, Pool};
use vm::vnet::hash;

use crate::medium::Medium;
use crate::oracle::records::Record;

/// Recovers the log of a pool that fills the NVDIMM's device. Works on a copy.
///
/// # Errors
/// There is no pool, or the log is corrupt, which no loss of power leaves behind.
pub(crate) fn recover(nvdimm: &Medium) -> anyhow::Result<Vec<Record>> {
    let pool = Pool::open_image(&nvdimm.device()?).context("open the pool on the host")?;
    let log = Log::open(&pool).context("recover the log on the host")?;
    let record = |bytes: Vec<u8>| Record { len: bytes.len(), hash: hash(&bytes) };
    Ok(log.records().map(|found| record(found.to_vec())).collect())
}
