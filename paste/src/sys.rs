//! Sys: the control requests and waits of `/dev/paste`, each behind a safe function.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
    sync::Arc,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout},
};

use crate::{
    abi::{self, NmreqHeader, NmreqOptExtmem, NmreqOption, NmreqRegister, PasteOptKernelRings},
    error::{Error, Result},
    map::Area,
};

mod raw {
    //! The numbers are those of `abi::{NIOCCTRL, NIOCTXSYNC, NIOCRXSYNC}`; a test compares them.
    use crate::abi::NmreqHeader;

    nix::ioctl_readwrite!(nioc_ctrl, b'i', 151, NmreqHeader);
    nix::ioctl_none!(nioc_txsync, b'i', 148);
    nix::ioctl_none!(nioc_rxsync, b'i', 149);
}

/// `REGISTER` with the options `EXTMEM`, `KERNEL_RINGS` and, if given, `RESERVE`.
#[derive(Debug)]
pub(crate) struct Register<'a> {
    /// Port name.
    pub(crate) name: &'a str,
    /// In: what is wanted; out: what was granted.
    pub(crate) body: NmreqRegister,
    /// The buffers; the kernel pins their pages until the descriptor is closed.
    pub(crate) area: &'a Arc<Area>,
    /// Words of the reserve bitmap; bits beyond the area's buffers are 0.
    pub(crate) reserve: Option<&'a [u64]>,
    /// Out: where the kernel laid the buffers.
    pub(crate) extmem: NmreqOptExtmem,
    /// Out: how much to map.
    pub(crate) rings: PasteOptKernelRings,
}

/// Sends `request` and leaves the answers in it.
pub(crate) fn register(device: BorrowedFd<'_>, request: &mut Register<'_>) -> Result<()> {
    let option = |kind| NmreqOption { nro_reqtype: kind, ..NmreqOption::default() };
    let mut reserve = abi::PasteOptReserve {
        nro_opt: option(abi::PASTE_REQ_OPT_RESERVE),
        bitmap: request.reserve.map_or(0, |words| address(words.as_ptr())),
        bits: request.reserve.map_or(0, |words| reserve_bits(words, request.area.count())),
    };
    request.rings.nro_opt = option(abi::PASTE_REQ_OPT_KERNEL_RINGS);
    if request.reserve.is_some() {
        request.rings.nro_opt.nro_next = address(&raw mut reserve);
    }
    request.extmem.nro_opt = option(abi::NETMAP_REQ_OPT_EXTMEM);
    request.extmem.nro_opt.nro_next = address(&raw mut request.rings);
    request.extmem.nro_usrptr = request.area.address();
    let options = address(&raw mut request.extmem);

    let body = address(&raw mut request.body);
    let mut header = header(abi::NETMAP_REQ_REGISTER, request.name, body, options)?;
    let answer = control(device, &mut header);
    let statuses = [
        ("extmem", request.extmem.nro_opt.nro_status),
        ("kernel rings", request.rings.nro_opt.nro_status),
        ("reserve", reserve.nro_opt.nro_status),
    ];
    answer.map_err(|errno| refusal("register", request.name.into(), &header, errno, &statuses))
}

/// A request with a body and no options, e.g. `PST_ATTACH`.
pub(crate) fn simple<B: Copy>(
    device: BorrowedFd<'_>,
    (number, label): (u16, &'static str),
    (name, what): (&str, String),
    body: &mut B,
) -> Result<()> {
    let mut header = header(number, name, address(ptr::from_mut(body)), 0)?;
    control(device, &mut header).map_err(|errno| refusal(label, what, &header, errno, &[]))
}

/// Lets the kernel exchange RX ring state.
pub(crate) fn rxsync(device: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the request takes no argument; what the kernel writes are slots and buffers that
    // it owns, which nobody reads as a slice.
    unsafe { raw::nioc_rxsync(device.as_raw_fd()) }?;
    Ok(())
}

/// Lets the kernel exchange TX ring state.
pub(crate) fn txsync(device: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: as for `rxsync`; what the kernel takes from slots nobody writes to (`Blank`).
    unsafe { raw::nioc_txsync(device.as_raw_fd()) }?;
    Ok(())
}

/// Waits until one of `fds` is ready as wanted (or has an error, or was hung up), with flags for
/// each; none after `timeout`. `None` waits for ever.
pub(crate) fn poll(
    fds: &[(BorrowedFd<'_>, PollFlags)],
    timeout: Option<Duration>,
) -> io::Result<Vec<PollFlags>> {
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut polls: Vec<_> = fds.iter().map(|(fd, wanted)| PollFd::new(*fd, *wanted)).collect();
    loop {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        match nix::poll::poll(&mut polls, milliseconds(left)) {
            // A long wait is cut by the size of poll's argument, an early one by a signal.
            Ok(0) if left.is_none_or(|left| !left.is_zero()) => {}
            Err(Errno::EINTR) => {}
            Ok(_) => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(polls.iter().map(|poll| poll.revents().unwrap_or(PollFlags::POLLERR)).collect())
}

/// Rounded up, so that a wait never ends just before its deadline and spins.
fn milliseconds(left: Option<Duration>) -> PollTimeout {
    let Some(left) = left else { return PollTimeout::NONE };
    let rounded = left.as_nanos().div_ceil(1_000_000);
    PollTimeout::try_from(rounded).unwrap_or(PollTimeout::MAX)
}

fn control(device: BorrowedFd<'_>, header: &mut NmreqHeader) -> std::result::Result<(), Errno> {
    // SAFETY: only `register` and `simple` call this. They put into the header the addresses of
    // a body and options that outlive the call and have the sizes which paste_abi.h states for
    // the request (`tests/abi.rs` compares them).
    unsafe { raw::nioc_ctrl(device.as_raw_fd(), header) }.map(drop)
}

fn header(request: u16, name: &str, body: u64, options: u64) -> Result<NmreqHeader> {
    let mut field = [0; abi::NETMAP_REQ_IFNAMSIZ];
    if name.len() >= field.len() || name.contains('\0') {
        return Err(Error::Name { name: name.into() });
    }
    field[..name.len()].copy_from_slice(name.as_bytes());
    Ok(NmreqHeader {
        nr_version: abi::NETMAP_API,
        nr_reqtype: request,
        nr_reserved: 0,
        nr_name: field,
        nr_options: options,
        nr_body: body,
    })
}

/// The kernel writes its own version back when it rejects ours.
fn refusal(
    request: &'static str,
    what: String,
    header: &NmreqHeader,
    errno: Errno,
    statuses: &[(&'static str, u32)],
) -> Error {
    if header.nr_version != abi::NETMAP_API {
        let kernel = u32::from(header.nr_version);
        return Error::Version { library: u32::from(abi::NETMAP_API), kernel };
    }
    let code = u32::try_from(errno as i32).unwrap_or(0);
    let option = statuses.iter().find(|(_, status)| *status == code).map(|(name, _)| *name);
    Error::Refused { request, what, option, source: errno.into() }
}

/// Valid bits of a bitmap: no more than there are buffers, and none behind the words.
fn reserve_bits(words: &[u64], buffers: u32) -> u64 {
    u64::from(buffers).min(words.len() as u64 * 64)
}

/// An address as the ABI carries it.
fn address<T>(pointer: *const T) -> u64 {
    pointer.expose_provenance() as u64
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Write, os::fd::AsFd};

    use super::*;

    #[test]
    fn the_macros_make_the_numbers_of_the_header() {
        let size = size_of::<NmreqHeader>();
        assert_eq!(nix::request_code_readwrite!(b'i', 151, size), u64::from(abi::NIOCCTRL));
        assert_eq!(nix::request_code_none!(b'i', 148), u64::from(abi::NIOCTXSYNC));
        assert_eq!(nix::request_code_none!(b'i', 149), u64::from(abi::NIOCRXSYNC));
    }

    #[test]
    fn a_rejected_version_is_named_with_ours() {
        let mut header = header(abi::NETMAP_REQ_REGISTER, "pst:0", 0, 0).unwrap();
        header.nr_version = 13;
        let error = refusal("register", "pst:0".into(), &header, Errno::EINVAL, &[]);
        let text = "netmap API version: the library speaks 14, the kernel extension 13";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn the_option_at_fault_is_named() {
        let header = header(abi::NETMAP_REQ_REGISTER, "pst:0", 0, 0).unwrap();
        let statuses = [("extmem", 0), ("reserve", Errno::EINVAL as u32)];
        let error = refusal("register", "pst:0".into(), &header, Errno::EINVAL, &statuses);
        assert_eq!(error.to_string(), "register pst:0 (option reserve)");
    }

    #[test]
    fn names_that_do_not_fit_are_refused() {
        assert!(header(1, &"x".repeat(63), 0, 0).is_ok());
        assert!(matches!(header(1, &"x".repeat(64), 0, 0), Err(Error::Name { .. })));
        assert!(matches!(header(1, "a\0b", 0, 0), Err(Error::Name { .. })));
    }

    #[test]
    fn an_ordinary_file_refuses_the_requests() {
        let file = File::open("/dev/null").unwrap();
        let mut body = abi::NmreqPstFd::default();
        let request = (abi::NETMAP_REQ_PST_FD_REG, "register socket");
        let error = simple(file.as_fd(), request, ("pst:0", "4".into()), &mut body).unwrap_err();
        assert!(matches!(error, Error::Refused { request: "register socket", .. }));
        assert!(rxsync(file.as_fd()).is_err() && txsync(file.as_fd()).is_err());
    }

    #[test]
    fn poll_tells_which_descriptor_is_ready() {
        let (quiet, _keep) = io::pipe().unwrap();
        let (ready, mut writer) = io::pipe().unwrap();
        writer.write_all(b"x").unwrap();
        let quiet = (quiet.as_fd(), PollFlags::POLLIN);
        let ready = (ready.as_fd(), PollFlags::POLLIN);
        let flags = poll(&[quiet, ready], None).unwrap();
        assert_eq!(flags, [PollFlags::empty(), PollFlags::POLLIN]);
        let flags = poll(&[quiet], Some(Duration::from_millis(1))).unwrap();
        assert_eq!(flags, [PollFlags::empty()]);
    }
}
