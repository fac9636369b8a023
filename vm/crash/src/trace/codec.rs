//! Codec: one event as bytes, short where it resembles the one before.
//!
//! ```text
//! tag: kind (bits 0-2), sub-kind (bits 3-4), same CPU (bit 5), same context (bit 6)
//! CPU, context    if not the same as in the event before
//! address         of the instruction, as difference (not of device writes)
//! then            Store: offset as difference, length, bytes
//!                 Flush: offset of the line as difference, 64 bytes
//!                 Dma: offset as difference, length, bytes, begin, end
//!                 Marker: operation, three arguments, number of ranges, their offsets and lengths
//! ```
//!
//! Numbers are LEB128, differences zigzag.

use super::LONGEST_DMA;
use crate::event::{
    Context, Dma, Event, Fence, FenceKind, Flush, FlushKind, Pc, Store, StoreBytes, Vcpu,
};
use crate::line::{LINE, Line, LineBytes, Offset, Range};
use crate::marker::{Marker, Op};

const STORE: u8 = 0;
const FLUSH: u8 = 1;
const FENCE: u8 = 2;
const DMA: u8 = 3;
const MARKER: u8 = 4;
const SAME_VCPU: u8 = 1 << 5;
const SAME_CONTEXT: u8 = 1 << 6;

/// What the event before said.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Last {
    vcpu: Vcpu,
    context: Context,
    pc: u64,
    offset: u64,
}

/// Who did something.
#[derive(Clone, Copy)]
struct Who {
    vcpu: Vcpu,
    context: Context,
    pc: Pc,
}

/// What is wrong with an event.
type Wrong = &'static str;

impl Last {
    /// Appends an event.
    pub(super) fn encode(&mut self, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Store(store) => {
                let kind = STORE | u8::from(store.nontemporal) << 3;
                self.put_who(kind, store.vcpu, store.context, store.pc, out);
                self.put_offset(store.offset.0, out);
                put_bytes(store.bytes.as_slice(), out);
            }
            Event::Flush(flush) => {
                let kind = FLUSH | (flush.kind as u8) << 3;
                self.put_who(kind, flush.vcpu, flush.context, flush.pc, out);
                self.put_offset(flush.line.start().0, out);
                out.extend(flush.live);
            }
            Event::Fence(fence) => {
                let kind = FENCE | (fence.kind as u8) << 3;
                self.put_who(kind, fence.vcpu, fence.context, fence.pc, out);
            }
            Event::Dma(dma) => {
                out.push(DMA);
                self.put_offset(dma.offset.0, out);
                put_bytes(&dma.bytes, out);
                put(dma.begin, out);
                put(dma.end, out);
            }
            Event::Marker(marker) => {
                self.put_who(MARKER, marker.vcpu, self.context, marker.pc, out);
                out.push(marker.op as u8);
                marker.args.iter().for_each(|arg| put(*arg, out));
                put(marker.ranges.len() as u64, out);
                for range in &marker.ranges {
                    put(range.offset.0, out);
                    put(range.len, out);
                }
            }
        }
    }

    /// Takes an event off the front; offsets are checked against the size of the NVDIMM.
    pub(super) fn decode(&mut self, rest: &mut Rest<'_>, size: u64) -> Result<Event, Wrong> {
        let tag = rest.byte()?;
        let sub = tag >> 3 & 3;
        if tag & 7 == DMA {
            return self.take_dma(rest, size).map(Event::Dma);
        }
        let who = self.take_who(tag, rest)?;
        match tag & 7 {
            STORE => self.take_store(who, sub == 1, rest, size).map(Event::Store),
            FLUSH => {
                let kind = [FlushKind::Clwb, FlushKind::Clflushopt, FlushKind::Clflush];
                let kind = *kind.get(usize::from(sub)).ok_or("an unknown kind of flush")?;
                let offset = self.take_offset(rest)?;
                let is_line = offset.is_multiple_of(LINE as u64);
                if !is_line || !is_inside(offset, LINE as u64, size) {
                    return Err("a flush outside the NVDIMM");
                }
                let bytes: LineBytes = rest.take(LINE)?.try_into().map_err(|_| "too short")?;
                let Who { vcpu, context, pc } = who;
                let line = Line(offset / LINE as u64);
                Ok(Event::Flush(Flush { vcpu, pc, context, line, kind, live: bytes }))
            }
            FENCE => {
                use FenceKind::{Locked, Mfence, Sfence, Wbinvd};
                let kind = [Sfence, Mfence, Locked, Wbinvd][usize::from(sub)];
                let Who { vcpu, context, pc } = who;
                Ok(Event::Fence(Fence { vcpu, pc, context, kind }))
            }
            MARKER => take_marker(&who, rest, size).map(Event::Marker),
            _ => Err("an unknown kind of event"),
        }
    }

    fn put_who(&mut self, kind: u8, vcpu: Vcpu, context: Context, pc: Pc, out: &mut Vec<u8>) {
        let same_vcpu = if vcpu == self.vcpu { SAME_VCPU } else { 0 };
        let same_context = if context == self.context { SAME_CONTEXT } else { 0 };
        out.push(kind | same_vcpu | same_context);
        if same_vcpu == 0 {
            put(vcpu.0.into(), out);
        }
        if same_context == 0 {
            put(context.cr3, out);
            out.push(context.privilege);
        }
        put(zigzag(pc.0.wrapping_sub(self.pc)), out);
        (self.vcpu, self.context, self.pc) = (vcpu, context, pc.0);
    }

    fn take_who(&mut self, tag: u8, rest: &mut Rest<'_>) -> Result<Who, Wrong> {
        if tag & SAME_VCPU == 0 {
            let vcpu = u32::try_from(rest.number()?);
            self.vcpu = Vcpu(vcpu.map_err(|_| "a CPU number that makes no sense")?);
        }
        if tag & SAME_CONTEXT == 0 {
            self.context = Context { cr3: rest.number()?, privilege: rest.byte()? };
        }
        self.pc = self.pc.wrapping_add(unzigzag(rest.number()?));
        Ok(Who { vcpu: self.vcpu, context: self.context, pc: Pc(self.pc) })
    }

    fn put_offset(&mut self, offset: u64, out: &mut Vec<u8>) {
        put(zigzag(offset.wrapping_sub(self.offset)), out);
        self.offset = offset;
    }

    fn take_offset(&mut self, rest: &mut Rest<'_>) -> Result<u64, Wrong> {
        self.offset = self.offset.wrapping_add(unzigzag(rest.number()?));
        Ok(self.offset)
    }

    fn take_store(
        &mut self,
        who: Who,
        nontemporal: bool,
        rest: &mut Rest<'_>,
        size: u64,
    ) -> Result<Store, Wrong> {
        let offset = self.take_offset(rest)?;
        let bytes = rest.bytes(LINE)?;
        if !is_inside(offset, bytes.len() as u64, size) {
            return Err("a store outside the NVDIMM");
        }
        let bytes = StoreBytes::new(bytes).ok_or("a store of nothing")?;
        let Who { vcpu, context, pc } = who;
        Ok(Store { vcpu, pc, context, offset: Offset(offset), bytes, nontemporal })
    }

    fn take_dma(&mut self, rest: &mut Rest<'_>, size: u64) -> Result<Dma, Wrong> {
        let offset = self.take_offset(rest)?;
        let bytes = rest.bytes(LONGEST_DMA)?.to_vec();
        if !is_inside(offset, bytes.len() as u64, size) {
            return Err("a device write outside the NVDIMM");
        }
        Ok(Dma { offset: Offset(offset), bytes, begin: rest.number()?, end: rest.number()? })
    }
}

fn take_marker(who: &Who, rest: &mut Rest<'_>, size: u64) -> Result<Marker, Wrong> {
    let op = Op::from_number(rest.byte()?).ok_or("an unknown marker")?;
    let args = [rest.number()?, rest.number()?, rest.number()?];
    let mut ranges = Vec::new();
    for _ in 0..rest.number()? {
        let range = Range { offset: Offset(rest.number()?), len: rest.number()? };
        if !is_inside(range.offset.0, range.len, size) {
            return Err("a marker's range outside the NVDIMM");
        }
        ranges.push(range);
    }
    Ok(Marker { vcpu: who.vcpu, pc: who.pc, op, args, ranges })
}

fn is_inside(offset: u64, len: u64, size: u64) -> bool {
    offset.checked_add(len).is_some_and(|end| end <= size)
}

fn put(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put(bytes.len() as u64, out);
    out.extend(bytes);
}

fn zigzag(difference: u64) -> u64 {
    difference << 1 ^ 0_u64.wrapping_sub(difference >> 63)
}

fn unzigzag(number: u64) -> u64 {
    number >> 1 ^ 0_u64.wrapping_sub(number & 1)
}

/// What is left of a block.
pub(super) struct Rest<'a>(pub(super) &'a [u8]);

impl<'a> Rest<'a> {
    fn byte(&mut self) -> Result<u8, Wrong> {
        Ok(self.take(1)?[0])
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Wrong> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or("its last event is cut off")?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u64, Wrong> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err("a number is too long")
    }

    /// Bytes behind their length.
    fn bytes(&mut self, most: usize) -> Result<&'a [u8], Wrong> {
        let len = usize::try_from(self.number()?).ok().filter(|len| *len <= most);
        self.take(len.ok_or("more bytes than one event may have")?)
    }
}
