//! Way: how one payload went through the machine, station by station, told by several witnesses.

use serde::Serialize;
use vm::vnet::Frame;

use crate::medium::Medium;
use crate::oracle::Span;

/// How one payload went through the machine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Way {
    /// What it is an example of.
    pub title: String,
    /// Size of the guest's NVDIMM in bytes.
    pub nvdimm_bytes: u64,
    /// Where it was seen, in order.
    pub stations: Vec<Station>,
}

/// A place where a payload was seen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Station {
    /// What it was there.
    pub name: &'static str,
    /// Who says so.
    pub witness: &'static str,
    /// What that witness saw.
    pub seen: String,
    /// Where it began in the NVDIMM's file, if it lay there.
    pub offset: Option<u64>,
}

/// The witness outside the guest: the NIC's backend.
const BACKEND: &str = "the NIC's backend";
/// The program that has the payload.
const PROGRAM: &str = "the program in the guest";

impl Way {
    /// A way through this NVDIMM on which nothing has been seen yet.
    ///
    /// # Errors
    /// The NVDIMM's file cannot be looked at.
    pub(crate) fn new(title: impl Into<String>, nvdimm: &Medium) -> anyhow::Result<Self> {
        Ok(Self { title: title.into(), nvdimm_bytes: nvdimm.bytes()?, stations: Vec::new() })
    }

    /// A frame, and the guest memory that its payload was written to or read from.
    pub(crate) fn frame(self, frame: &Frame, nvdimm: &Medium) -> Self {
        let ends = frame.flow.as_ref().map_or(String::new(), |flow| {
            format!("{} to {}, ", flow.src, flow.dst) //
        });
        let seen = format!("number {}, {ends}{} bytes of payload", frame.seq, frame.payload_len);
        let this = self.with("frame", BACKEND, seen, None);
        frame.payload.iter().fold(this, |this, range| {
            let seen = format!("{} bytes at {:#x}", range.len, range.guest.0);
            this.with("guest memory", BACKEND, seen, nvdimm.offset(range.file))
        })
    }

    /// What the program says of a payload that it has in the NVDIMM.
    pub(crate) fn program(self, name: &'static str, seen: &str, at: Span) -> Self {
        let seen = format!("{seen}, {} bytes", at.len);
        self.with(name, PROGRAM, seen, Some(at.start))
    }

    fn with(
        mut self,
        name: &'static str,
        witness: &'static str,
        seen: String,
        offset: Option<u64>,
    ) -> Self {
        self.stations.push(Station { name, witness, seen, offset });
        self
    }
}
