//! Sys: the one system call of the agent that needs unsafe code.

use std::os::fd::AsRawFd;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::Result;

mod request {
    nix::ioctl_write_ptr_bad!(set_flags, libc::SIOCSIFFLAGS, libc::ifreq);
}

/// Switches the loopback interface on, as programs expect it to be.
pub(crate) fn loopback_up() -> Result<()> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .map_err(|error| format!("open socket: {error}"))?;
    let mut name = [0; libc::IFNAMSIZ];
    name[0] = b'l'.cast_signed();
    name[1] = b'o'.cast_signed();
    let flags = i16::try_from(libc::IFF_UP | libc::IFF_RUNNING).expect("both are small");
    let ifr_ifru = libc::__c_anonymous_ifr_ifru { ifru_flags: flags };
    let request = libc::ifreq { ifr_name: name, ifr_ifru };
    // SAFETY: the socket is open, `request` is a complete ifreq that lives across the call, and
    // SIOCSIFFLAGS only reads it.
    match unsafe { request::set_flags(socket.as_raw_fd(), &raw const request) } {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("switch on lo: {error}")),
    }
}
