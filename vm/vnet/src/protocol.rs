//! Protocol: the device as the vhost-user frontend sets it up.
//!
//! The `vhost` crate reads and answers messages (see `session`); this is what they act on:
//! features, memory table and two vrings.

use std::fs::File;

use vhost::VhostUserMemoryRegionBase;
use vhost::vhost_user::message::{
    VhostTransferStateDirection, VhostTransferStatePhase, VhostUserConfigFlags, VhostUserInflight,
    VhostUserLog, VhostUserMemoryRegion, VhostUserProtocolFeatures, VhostUserShMemConfig,
    VhostUserSharedMsg, VhostUserSingleMemoryRegion, VhostUserVringAddrFlags, VhostUserVringState,
};
use vhost::vhost_user::{
    Error as VhostError, GpuBackend, Result as VhostResult, VhostUserBackendReqHandlerMut,
};

use crate::journal::Journal;
use crate::memory::{MemRegion, MemTable};
use crate::net_header::{LEN_LEGACY, LEN_MODERN};
use crate::partial::Partial;
use crate::vring::{Addresses, Vring};

/// Index of the virtqueue the guest receives from.
pub(crate) const RX: usize = 0;
/// Index of the virtqueue the guest transmits on.
pub(crate) const TX: usize = 1;

const F_CSUM: u64 = 1 << 0;
const F_GUEST_CSUM: u64 = 1 << 1;
const F_MRG_RXBUF: u64 = 1 << 15;
const F_INDIRECT_DESC: u64 = 1 << 28;
const F_EVENT_IDX: u64 = 1 << 29;
const F_PROTOCOL_FEATURES: u64 = 1 << 30;
const F_VERSION_1: u64 = 1 << 32;
/// What the device can do. The MAC address and the control queue are QEMU's.
const OFFERED: u64 = F_CSUM
    | F_GUEST_CSUM
    | F_MRG_RXBUF
    | F_INDIRECT_DESC
    | F_EVENT_IDX
    | F_PROTOCOL_FEATURES
    | F_VERSION_1;
/// Most memory-table regions: QEMU takes the smaller of this and its own limit.
const MEM_SLOTS: u64 = 509;

/// The NIC: features, memory and virtqueues, as far as the frontend has set them up.
#[derive(Debug, Default)]
pub(crate) struct Device {
    /// Acknowledged features; None until the first `SET_FEATURES`.
    features: Option<u64>,
    pub(crate) mem: MemTable,
    pub(crate) vrings: [Vring; 2],
    /// Counts changes of memory, vrings and descriptors, so that the event loop sees them.
    pub(crate) changes: u64,
    /// The frame in which the device stands still until its frontend leaves: it touches no vring.
    pub(crate) partial: Option<Partial>,
    /// Takes what is written into guest memory.
    journal: Option<Journal>,
}

impl Device {
    /// A device that nobody has set up.
    pub(crate) fn new(journal: Option<Journal>) -> Self {
        Self { journal, ..Self::default() }
    }

    /// Whether no features were acknowledged yet.
    pub(crate) fn is_fresh(&self) -> bool {
        self.features.is_none()
    }

    fn has(&self, feature: u64) -> bool {
        self.features.is_some_and(|features| features & feature != 0)
    }

    /// Forgets everything a frontend set up.
    pub(crate) fn clear(&mut self) {
        let journal = self.journal.take();
        *self = Self { changes: self.changes + 1, journal, ..Self::default() };
    }

    /// Whether a received frame may be spread over several chains.
    pub(crate) fn mergeable(&self) -> bool {
        self.has(F_MRG_RXBUF)
    }

    /// Whether chains may be indirect.
    pub(crate) fn indirect(&self) -> bool {
        self.has(F_INDIRECT_DESC)
    }

    /// Whether the guest looks at checksum flags of received frames.
    pub(crate) fn guest_csum(&self) -> bool {
        self.has(F_GUEST_CSUM)
    }

    /// Length of the header before each frame.
    pub(crate) fn header_len(&self) -> usize {
        if self.has(F_VERSION_1 | F_MRG_RXBUF) { LEN_MODERN } else { LEN_LEGACY }
    }

    /// Whether the driver has set up both directions.
    pub(crate) fn is_up(&self) -> bool {
        self.vrings.iter().all(|vring| vring.enabled && vring.kick().is_some())
    }

    fn vring(&mut self, index: u32) -> VhostResult<&mut Vring> {
        self.changes += 1;
        let index = usize::try_from(index).map_err(|_| VhostError::InvalidParam)?;
        self.vrings.get_mut(index).ok_or(VhostError::InvalidParam)
    }

    fn insert(&mut self, region: &VhostUserMemoryRegion, file: File) -> VhostResult<()> {
        let VhostUserMemoryRegion { guest_phys_addr, memory_size, user_addr, mmap_offset } =
            *region;
        let region = MemRegion::map(guest_phys_addr, user_addr, memory_size, file, mmap_offset)
            .map_err(VhostError::ReqHandlerError)?
            .journalled(self.journal.clone());
        self.mem.insert(region).map_err(VhostError::ReqHandlerError)
    }

    fn memory_changed(&mut self) {
        self.changes += 1;
        for vring in &mut self.vrings {
            vring.resolve(&self.mem);
        }
    }
}

fn unsupported<T>() -> VhostResult<T> {
    Err(VhostError::InvalidOperation("not offered"))
}

impl VhostUserBackendReqHandlerMut for Device {
    fn set_owner(&mut self) -> VhostResult<()> {
        Ok(())
    }

    fn reset_owner(&mut self) -> VhostResult<()> {
        self.reset_device()
    }

    fn reset_device(&mut self) -> VhostResult<()> {
        self.changes += 1;
        self.vrings = Default::default();
        self.features = None;
        Ok(())
    }

    fn get_features(&mut self) -> VhostResult<u64> {
        Ok(OFFERED)
    }

    fn set_features(&mut self, features: u64) -> VhostResult<()> {
        if features & !OFFERED != 0 {
            return Err(VhostError::InvalidParam);
        }
        self.changes += 1;
        self.features = Some(features);
        for vring in &mut self.vrings {
            vring.set_event_idx(features & F_EVENT_IDX != 0);
            // Without protocol features there is no SET_VRING_ENABLE: started means enabled.
            vring.enabled |= features & F_PROTOCOL_FEATURES == 0;
        }
        Ok(())
    }

    fn set_mem_table(
        &mut self,
        regions: &[VhostUserMemoryRegion],
        files: Vec<File>,
        _postcopy: Option<bool>,
    ) -> VhostResult<Option<Vec<VhostUserMemoryRegionBase>>> {
        self.mem = MemTable::default();
        let inserted =
            regions.iter().zip(files).try_for_each(|(region, file)| self.insert(region, file));
        self.memory_changed();
        inserted.map(|()| None)
    }

    fn set_vring_num(&mut self, index: u32, num: u32) -> VhostResult<()> {
        if self.vring(index)?.set_size(num) { Ok(()) } else { Err(VhostError::InvalidParam) }
    }

    fn set_vring_addr(
        &mut self,
        index: u32,
        _flags: VhostUserVringAddrFlags,
        descriptor: u64,
        used: u64,
        available: u64,
        _log: u64,
    ) -> VhostResult<()> {
        self.vring(index)?;
        let Self { vrings, mem, .. } = self;
        let vring = vrings.get_mut(index as usize).ok_or(VhostError::InvalidParam)?;
        let resolved = vring.set_addresses(Addresses { descriptor, available, used }, mem);
        if resolved { Ok(()) } else { Err(VhostError::InvalidParam) }
    }

    fn set_vring_base(&mut self, index: u32, base: u32) -> VhostResult<()> {
        let base = u16::try_from(base).map_err(|_| VhostError::InvalidParam)?;
        self.vring(index)?.set_base(base);
        Ok(())
    }

    fn get_vring_base(&mut self, index: u32) -> VhostResult<VhostUserVringState> {
        let base = self.vring(index)?.stop();
        Ok(VhostUserVringState::new(index, u32::from(base)))
    }

    fn set_vring_kick(&mut self, index: u8, fd: Option<File>) -> VhostResult<()> {
        self.vring(index.into())?.start(fd);
        Ok(())
    }

    fn set_vring_call(&mut self, index: u8, fd: Option<File>) -> VhostResult<()> {
        self.vring(index.into())?.set_call(fd);
        Ok(())
    }

    fn set_vring_err(&mut self, index: u8, _fd: Option<File>) -> VhostResult<()> {
        // A broken ring is counted; no driver we know reads this descriptor.
        self.vring(index.into()).map(drop)
    }

    fn get_protocol_features(&mut self) -> VhostResult<VhostUserProtocolFeatures> {
        Ok(VhostUserProtocolFeatures::REPLY_ACK | VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS)
    }

    fn set_protocol_features(&mut self, _features: u64) -> VhostResult<()> {
        Ok(())
    }

    fn get_queue_num(&mut self) -> VhostResult<u64> {
        Ok(1)
    }

    fn set_vring_enable(&mut self, index: u32, enable: bool) -> VhostResult<()> {
        self.vring(index)?.enabled = enable;
        Ok(())
    }

    fn get_max_mem_slots(&mut self) -> VhostResult<u64> {
        Ok(MEM_SLOTS)
    }

    fn add_mem_region(
        &mut self,
        region: &VhostUserSingleMemoryRegion,
        fd: File,
        _postcopy: Option<bool>,
    ) -> VhostResult<Option<VhostUserMemoryRegionBase>> {
        let inserted = self.insert(region, fd);
        self.memory_changed();
        inserted.map(|()| None)
    }

    fn remove_mem_region(&mut self, region: &VhostUserSingleMemoryRegion) -> VhostResult<()> {
        let known = self.mem.remove(region.guest_phys_addr, region.user_addr, region.memory_size);
        self.memory_changed();
        if known { Ok(()) } else { Err(VhostError::InvalidParam) }
    }

    // What follows was not offered.

    fn get_config(&mut self, _: u32, _: u32, _: VhostUserConfigFlags) -> VhostResult<Vec<u8>> {
        unsupported()
    }

    fn set_config(&mut self, _: u32, _: &[u8], _: VhostUserConfigFlags) -> VhostResult<()> {
        unsupported()
    }

    fn set_gpu_socket(&mut self, _: GpuBackend) -> VhostResult<()> {
        unsupported()
    }

    fn get_shared_object(&mut self, _: VhostUserSharedMsg) -> VhostResult<File> {
        unsupported()
    }

    fn get_inflight_fd(&mut self, _: &VhostUserInflight) -> VhostResult<(VhostUserInflight, File)> {
        unsupported()
    }

    fn set_inflight_fd(&mut self, _: &VhostUserInflight, _: File) -> VhostResult<()> {
        unsupported()
    }

    fn set_device_state_fd(
        &mut self,
        _: VhostTransferStateDirection,
        _: VhostTransferStatePhase,
        _: File,
    ) -> VhostResult<Option<File>> {
        unsupported()
    }

    fn check_device_state(&mut self) -> VhostResult<()> {
        unsupported()
    }

    fn get_shmem_config(&mut self) -> VhostResult<VhostUserShMemConfig> {
        unsupported()
    }

    fn set_log_base(&mut self, _: &VhostUserLog, _: File) -> VhostResult<()> {
        unsupported()
    }
}
