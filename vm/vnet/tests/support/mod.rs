//! Support: a frontend and a driver that stand in for QEMU and its guest.

// Each test program uses a part of this.
#![allow(
    dead_code,
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "shared by several test programs"
)]

pub mod frames;
pub mod journal;
pub mod nic;
pub mod ring;
pub mod served;

use std::fs::File;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use vhost::vhost_user::message::VhostUserHeaderFlag;
use vhost::vhost_user::{Frontend, VhostUserFrontend, VhostUserProtocolFeatures};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use vm_memory::mmap::MmapRegion;
use vm_memory::{FileOffset, VolatileMemory, VolatileSlice};
use vnet::{Config, HostAddress, Vnet};

use ring::{Layout, Ring};

pub const SOON: Duration = Duration::from_secs(5);
pub const HOST_IP: Ipv4Addr = Ipv4Addr::new(10, 0, 7, 1);
pub const HOST_MAC: [u8; 6] = [2, 0, 0, 0, 7, 1];
pub const GUEST_IP: Ipv4Addr = Ipv4Addr::new(10, 0, 7, 2);
pub const GUEST_MAC: [u8; 6] = [2, 0, 0, 0, 7, 2];

pub const MRG_RXBUF: u64 = 1 << 15;
pub const CSUM: u64 = 1;
pub const INDIRECT: u64 = 1 << 28;
pub const EVENT_IDX: u64 = 1 << 29;
pub const VERSION_1: u64 = 1 << 32;
const PROTOCOL: u64 = 1 << 30;

/// Guest addresses: rings in low memory, buffers in a device of their own, like an NVDIMM.
pub const RINGS: u64 = 0x1_0000;
pub const BUFFERS: u64 = 0x1_0000_0000;
/// Where the buffers' region begins in its file.
pub const BUFFERS_IN_FILE: u64 = 0x3000;
const RINGS_LEN: u64 = 0x4_0000;
const BUFFERS_LEN: u64 = 0x40_0000;
/// What the frontend adds to a guest address to get its own.
const USER: u64 = 0x7f00_0000_0000;

/// A network and the directory of its socket.
pub struct Net {
    pub vnet: Vnet,
    pub dir: tempfile::TempDir,
}

impl Net {
    pub fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), |_| ())
    }

    /// A network in this directory, with its configuration changed.
    pub fn start_in(dir: tempfile::TempDir, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config(&dir.path().join("nic"));
        change(&mut config);
        let vnet = Vnet::start(config).unwrap();
        Self { vnet, dir }
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("nic")
    }
}

pub fn config(socket: &Path) -> Config {
    Config::new(socket, HostAddress { ip: HOST_IP, prefix_len: 24, mac: HOST_MAC })
}

/// Guest memory: a piece of a file, mapped.
#[derive(Clone)]
pub struct Memory {
    guest: u64,
    map: Arc<MmapRegion<()>>,
}

impl Memory {
    fn new(guest: u64, offset: u64, len: u64) -> Self {
        let file = tempfile::tempfile().unwrap();
        file.set_len(offset + len).unwrap();
        let len = usize::try_from(len).unwrap();
        let map = MmapRegion::from_file(FileOffset::new(file, offset), len).unwrap();
        Self { guest, map: Arc::new(map) }
    }

    pub fn file(&self) -> &File {
        self.map.file_offset().unwrap().file()
    }

    pub fn slice(&self, guest: u64, len: usize) -> VolatileSlice<'_, ()> {
        self.map.get_slice(usize::try_from(guest - self.guest).unwrap(), len).unwrap()
    }

    fn info(&self) -> VhostUserMemoryRegionInfo {
        VhostUserMemoryRegionInfo {
            guest_phys_addr: self.guest,
            memory_size: self.map.size() as u64,
            userspace_addr: self.guest + USER,
            mmap_offset: self.map.file_offset().unwrap().start(),
            mmap_handle: self.file().as_raw_fd(),
        }
    }
}

/// A guest with a NIC, without a guest.
pub struct Guest {
    pub frontend: Frontend,
    pub stream: UnixStream,
    pub rings: Memory,
    pub buffers: Memory,
    pub rx: Ring,
    pub tx: Ring,
    pub features: u64,
}

impl Guest {
    /// Connects as QEMU does, up to a running driver.
    pub fn boot(socket: &Path, features: u64, layout: Layout) -> Self {
        let mut guest = Self::connect(socket, features, layout);
        guest.add_memory();
        guest.drive([0, 0]);
        guest
    }

    /// As `boot`; the driver transmits from whole buffers and receives as `layout` says.
    pub fn boot_receiving(socket: &Path, features: u64, layout: Layout) -> Self {
        let mut guest = Self::connect(socket, features, Layout::Joined);
        guest.rx = Ring::new(&guest.rings, &guest.buffers, 0, features, layout);
        guest.add_memory();
        guest.drive([0, 0]);
        guest
    }

    /// Connects and negotiates protocol features; sends the enables that QEMU sends so early.
    pub fn connect(socket: &Path, features: u64, layout: Layout) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        let mut frontend = Frontend::from_stream(stream.try_clone().unwrap(), 2);
        assert_eq!(frontend.get_features().unwrap() & PROTOCOL, PROTOCOL);
        let wanted =
            VhostUserProtocolFeatures::REPLY_ACK | VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS;
        assert_eq!(frontend.get_protocol_features().unwrap(), wanted);
        frontend.set_protocol_features(wanted).unwrap();
        assert_eq!(frontend.get_max_mem_slots().unwrap(), 509);
        frontend.set_owner().unwrap();
        for index in 0..2 {
            early_enable(&stream, index);
        }
        let rings = Memory::new(RINGS, 0, RINGS_LEN);
        let buffers = Memory::new(BUFFERS, BUFFERS_IN_FILE, BUFFERS_LEN);
        let rx = Ring::new(&rings, &buffers, 0, features, layout);
        let tx = Ring::new(&rings, &buffers, 1, features, layout);
        Self { frontend, stream, rings, buffers, rx, tx, features }
    }

    pub fn add_memory(&mut self) {
        self.frontend.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
        self.frontend.add_mem_region(&self.rings.info()).unwrap();
        self.frontend.add_mem_region(&self.buffers.info()).unwrap();
    }

    pub fn set_memory_table(&mut self) {
        self.frontend.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
        self.frontend.set_mem_table(&[self.rings.info(), self.buffers.info()]).unwrap();
    }

    pub fn remove_buffers(&mut self) {
        self.frontend.remove_mem_region(&self.buffers.info()).unwrap();
    }

    pub fn add_buffers(&mut self) {
        self.frontend.add_mem_region(&self.buffers.info()).unwrap();
    }

    /// What the driver's `DRIVER_OK` makes QEMU send.
    pub fn drive(&mut self, bases: [u16; 2]) {
        self.frontend.set_features(self.features | PROTOCOL).unwrap();
        for (ring, base) in [&self.rx, &self.tx].into_iter().zip(bases) {
            let index = ring.index;
            self.frontend.set_vring_num(index, ring.size).unwrap();
            self.frontend.set_vring_base(index, base).unwrap();
            self.frontend.set_vring_addr(index, &addresses(ring)).unwrap();
            self.frontend.set_vring_call(index, &ring.call).unwrap();
            self.frontend.set_vring_kick(index, &ring.kick).unwrap();
            self.frontend.set_vring_enable(index, true).unwrap();
        }
    }

    /// What a driver's reset makes QEMU send.
    pub fn reset(&mut self) -> (u32, u32) {
        let bases = [0, 1].map(|index| self.frontend.get_vring_base(index).unwrap());
        (bases[0], bases[1])
    }

    /// Replaces both rings by fresh ones, as a new driver would.
    pub fn renew(&mut self, features: u64, layout: Layout) {
        self.features = features;
        self.rx = Ring::new(&self.rings, &self.buffers, 0, features, layout);
        self.tx = Ring::new(&self.rings, &self.buffers, 1, features, layout);
    }

    /// Sends a frame and waits until the backend has taken it.
    pub fn send(&mut self, frame: &[u8]) {
        self.tx.send(frame);
        self.tx.wait_used();
    }

    /// Receives the next frame.
    pub fn receive(&mut self) -> Vec<u8> {
        self.rx.receive(SOON).expect("a frame from the backend")
    }

    /// Asks for the host's Ethernet address and returns the answer.
    pub fn arp(&mut self) -> Vec<u8> {
        self.send(&frames::arp_request());
        self.receive()
    }

    /// The bytes of a file that backs the buffers.
    pub fn file_bytes(&self, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        std::os::unix::fs::FileExt::read_exact_at(self.buffers.file(), &mut bytes, offset).unwrap();
        bytes
    }
}

pub fn addresses(ring: &Ring) -> VringConfigData {
    VringConfigData {
        queue_max_size: ring.size,
        queue_size: ring.size,
        flags: 0,
        desc_table_addr: ring.descriptors + USER,
        used_ring_addr: ring.used + USER,
        avail_ring_addr: ring.available + USER,
        log_addr: None,
    }
}

/// `SET_VRING_ENABLE` before any `SET_FEATURES`; the frontend of the crate would not send it.
pub fn early_enable(mut stream: &UnixStream, index: u32) {
    let message = [18_u32, 1 | 8, 8, index, 1];
    let bytes: Vec<u8> = message.iter().flat_map(|word| word.to_le_bytes()).collect();
    stream.write_all(&bytes).unwrap();
    let mut reply = [0; 20];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(&reply[..12], &[18, 0, 0, 0, 5, 0, 0, 0, 8, 0, 0, 0]);
    assert_eq!(&reply[12..], &[0; 8], "the enable was refused");
}
