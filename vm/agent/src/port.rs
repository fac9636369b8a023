//! Port: the virtio-serial port to the host, found by its name.

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};

use crate::Result;

const PORTS: &str = "/sys/class/virtio-ports";

/// The driver needs milliseconds; a port that is not there by then never comes.
const PATIENCE: Duration = Duration::from_mins(1);

/// The kernel's announcements of devices: names of ports arrive some time after their driver.
#[derive(Debug)]
pub(crate) struct Events(OwnedFd);

impl Events {
    /// Opens the stream; to be done before the driver is loaded, so that nothing is missed.
    pub(crate) fn open() -> Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkKObjectUEvent,
        );
        let socket = socket.map_err(|error| format!("open uevent socket: {error}"))?;
        let kernel_group = 1;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, kernel_group))
            .map_err(|error| format!("bind uevent socket: {error}"))?;
        Ok(Self(socket))
    }

    /// Waits until the port is there and opens it.
    pub(crate) fn find_port(&mut self) -> Result<File> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(path) = port_path() {
                let opened = File::options().read(true).write(true).open(&path);
                return opened.map_err(|error| format!("open {}: {error}", path.display()));
            }
            self.wait(deadline)?;
        }
    }

    fn wait(&mut self, deadline: Instant) -> Result<()> {
        let left = deadline.saturating_duration_since(Instant::now()).as_millis();
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(0) => return Err(format!("no virtio port {} appeared", agent_proto::PORT)),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(format!("wait for a uevent: {error}")),
        }
        // The content does not matter, and a full queue (ENOBUFS) only means "look again".
        let _ = recv(self.0.as_raw_fd(), &mut [0; 4096], MsgFlags::MSG_DONTWAIT);
        Ok(())
    }
}

fn port_path() -> Option<PathBuf> {
    let ports = fs::read_dir(PORTS).ok()?;
    ports.flatten().find_map(|port| {
        let name = fs::read_to_string(port.path().join("name")).ok()?;
        (name.trim() == agent_proto::PORT).then(|| PathBuf::from("/dev").join(port.file_name()))
    })
}
