//! Kernel device: a port bound to a descriptor of `/dev/paste`.
//!
//! The rings live in kernel memory (option `KERNEL_RINGS`), the buffers in the pool (`EXTMEM`),
//! and the buffers of persistent structures are named before anything is allocated (`RESERVE`).

use std::{
    fs::File,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
    time::Duration,
};

use nix::poll::PollFlags;

use super::{Device, Granted, Ready, Wanted};
use crate::{
    abi::{
        self, NmreqOptExtmem, NmreqPoolsInfo, NmreqPstFd, NmreqRegister, NmreqValeAttach,
        NmreqValeDetach, PasteOptKernelRings,
    },
    error::{Error, Result},
    map::{Mapping, PAGE, Words},
    sys,
};

/// An open `/dev/paste`.
#[derive(Debug)]
pub struct KernelDevice {
    file: File,
    port: String,
    memory: u16,
}

impl KernelDevice {
    /// Opens [`abi::PASTE_DEVICE_PATH`].
    ///
    /// # Errors
    /// `Io` if the module is not loaded or the caller may not use it.
    pub fn open() -> Result<Self> {
        Self::open_at(abi::PASTE_DEVICE_PATH)
    }

    /// Opens the device at another path.
    ///
    /// # Errors
    /// `Io`, as above.
    pub fn open_at(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = File::options().read(true).write(true).open(path);
        let file = file.map_err(Error::io("open", path.display()))?;
        Ok(Self { file, port: String::new(), memory: 0 })
    }

    /// A NIC's name as the attach requests carry it.
    fn nic_name(nic: &str) -> String {
        format!("pst:{nic}")
    }
}

impl Device for KernelDevice {
    fn register(&mut self, wanted: &Wanted<'_>) -> Result<Granted> {
        let buffers = pools_info(wanted);
        let mut request = sys::Register {
            name: wanted.name,
            body: NmreqRegister {
                nr_mode: abi::NR_REG_ALL_NIC,
                nr_rx_slots: wanted.slots,
                nr_tx_slots: wanted.tx_slots,
                nr_flags: if wanted.events { abi::PASTE_NR_EVENTS } else { 0 },
                nr_extra_bufs: wanted.extra,
                ..NmreqRegister::default()
            },
            area: wanted.area,
            reserve: wanted.reserve.iter().any(|word| *word != 0).then_some(wanted.reserve),
            extmem: NmreqOptExtmem { nro_info: buffers, ..NmreqOptExtmem::default() },
            rings: PasteOptKernelRings::default(),
        };
        sys::register(self.file.as_fd(), &mut request)?;
        same_layout(&buffers, &request.extmem.nro_info)?;
        let rings = self.map_rings(request.rings.rings_size)?;
        self.port = wanted.name.into();
        self.memory = request.body.nr_mem_id;
        let netmap_if = usize::try_from(request.body.nr_offset).unwrap_or(usize::MAX);
        Ok(Granted { rings, netmap_if, extra: request.body.nr_extra_bufs })
    }

    fn attach(&mut self, nic: &str) -> Result<()> {
        let mut body = NmreqValeAttach::default();
        body.reg.nr_mode = abi::NR_REG_NIC_SW;
        body.reg.nr_mem_id = self.memory;
        let request = (abi::NETMAP_REQ_PST_ATTACH, "attach");
        sys::simple(self.file.as_fd(), request, (&Self::nic_name(nic), nic.into()), &mut body)
    }

    fn detach(&mut self, nic: &str) -> Result<()> {
        let mut body = NmreqValeDetach::default();
        let request = (abi::NETMAP_REQ_PST_DETACH, "detach");
        sys::simple(self.file.as_fd(), request, (&Self::nic_name(nic), nic.into()), &mut body)
    }

    fn register_socket(&mut self, socket: BorrowedFd<'_>) -> Result<()> {
        self.socket_request((abi::NETMAP_REQ_PST_FD_REG, "register socket"), socket)
    }

    fn unregister_socket(&mut self, socket: BorrowedFd<'_>) -> Result<()> {
        self.socket_request((abi::PASTE_REQ_FD_UNREG, "unregister socket"), socket)
    }

    fn close_socket(&mut self, socket: OwnedFd) -> Result<()> {
        // The last descriptor's end hands everything over, and unregisters it.
        drop(socket);
        Ok(())
    }

    fn rxsync(&mut self) -> Result<()> {
        sys::rxsync(self.file.as_fd()).map_err(Error::io("rxsync", &self.port))
    }

    fn txsync(&mut self) -> Result<()> {
        sys::txsync(self.file.as_fd()).map_err(Error::io("txsync", &self.port))
    }

    fn poll(
        &mut self,
        others: &[BorrowedFd<'_>],
        tx: bool,
        timeout: Option<Duration>,
    ) -> Result<Ready> {
        let wanted = if tx { PollFlags::POLLIN | PollFlags::POLLOUT } else { PollFlags::POLLIN };
        let mut fds = vec![(self.file.as_fd(), wanted)];
        fds.extend(others.iter().map(|fd| (*fd, PollFlags::POLLIN)));
        let flags = sys::poll(&fds, timeout).map_err(Error::io("poll", &self.port))?;
        if flags[0].intersects(PollFlags::POLLERR | PollFlags::POLLNVAL) {
            return Err(Error::Ring { reason: format!("poll of {} met POLLERR", self.port) });
        }
        Ok(Ready {
            port: flags[0].contains(PollFlags::POLLIN),
            tx: flags[0].contains(PollFlags::POLLOUT),
            others: flags[1..].iter().map(|flags| !flags.is_empty()).collect(),
        })
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    fn describe(&self) -> String {
        "the kernel extension: payload stays where the NIC put it".into()
    }
}

impl KernelDevice {
    fn socket_request(&self, request: (u16, &'static str), socket: BorrowedFd<'_>) -> Result<()> {
        let number = socket.as_raw_fd();
        let fd = u32::try_from(number).expect("a borrowed descriptor is not negative");
        let mut body = NmreqPstFd { fd, pad: 0 };
        let names = (self.port.as_str(), number.to_string());
        sys::simple(self.file.as_fd(), request, names, &mut body)
    }

    fn map_rings(&self, size: u64) -> Result<Words> {
        let len = usize::try_from(size).ok().filter(|len| *len != 0 && len.is_multiple_of(PAGE));
        let Some(len) = len else {
            return Err(Error::Ring { reason: format!("rings of {size} bytes (not whole pages)") });
        };
        let mapping = Mapping::device(&self.file, len).map_err(Error::io("map", "the rings"))?;
        Ok(Words::new(mapping))
    }
}

/// The buffers as we lay them out; the kernel's answer must say the same.
fn pools_info(wanted: &Wanted<'_>) -> NmreqPoolsInfo {
    let size = u32::try_from(wanted.area.size()).expect("a buffer size is 2048 or 4096");
    NmreqPoolsInfo {
        nr_memsize: u64::from(wanted.area.count()) * u64::from(size),
        nr_buf_pool_objtotal: wanted.area.count(),
        nr_buf_pool_objsize: size,
        ..NmreqPoolsInfo::default()
    }
}

fn same_layout(ours: &NmreqPoolsInfo, theirs: &NmreqPoolsInfo) -> Result<()> {
    let layout = |info: &NmreqPoolsInfo| {
        (info.nr_buf_pool_offset, info.nr_buf_pool_objtotal, info.nr_buf_pool_objsize)
    };
    let (ours, theirs) = (layout(ours), layout(theirs));
    if ours == theirs {
        return Ok(());
    }
    let reason = format!("buffers (offset, count, size): {ours:?} wanted, {theirs:?} granted");
    Err(Error::Ring { reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_moves_the_buffers_is_refused() {
        let ours = NmreqPoolsInfo { nr_buf_pool_objtotal: 8, ..NmreqPoolsInfo::default() };
        assert!(same_layout(&ours, &ours).is_ok());
        let moved = NmreqPoolsInfo { nr_buf_pool_offset: 4096, ..ours };
        let error = same_layout(&ours, &moved).unwrap_err().to_string();
        assert!(error.contains("(0, 8, 0) wanted, (4096, 8, 0) granted"), "{error}");
    }

    #[test]
    fn a_missing_device_is_named() {
        let error = KernelDevice::open_at("/nonexistent/paste").unwrap_err();
        assert_eq!(error.to_string(), "open /nonexistent/paste");
    }
}
