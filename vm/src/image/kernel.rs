//! Kernel: the uncompressed ELF inside a bzImage, which QEMU boots by PVH.
//!
//! The layout is that of the kernel's Documentation/arch/x86/boot.rst: the payload lies behind the
//! set-up sectors and ends with 4 bytes that hold its uncompressed size.

use crate::process::{Program, Stdin};

const SECTOR: usize = 512;
/// Type of the ELF note that holds the PVH entry point (`XEN_ELFNOTE_PHYS32_ENTRY`).
const PVH_ENTRY: u32 = 18;

/// Extracts the ELF kernel from a bzImage; the error says what is wrong with it.
pub(super) fn vmlinux(image: &[u8]) -> Result<Vec<u8>, String> {
    let payload = payload(image).ok_or("not a bzImage")?;
    let (packed, size) = payload.split_last_chunk::<4>().ok_or("its payload is empty")?;
    let elf = decompress(packed)?;
    if elf.len() != u32::from_le_bytes(*size) as usize {
        return Err(format!("its payload has {} bytes, not what its end says", elf.len()));
    }
    if has_pvh_entry(&elf) != Some(true) {
        return Err("its kernel has no PVH entry (CONFIG_PVH)".to_owned());
    }
    Ok(elf)
}

fn payload(image: &[u8]) -> Option<&[u8]> {
    if image.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    let sectors = match image[0x1f1] {
        // Old boot loaders: 0 means 4.
        0 => 4,
        sectors => usize::from(sectors),
    };
    let start = (sectors + 1) * SECTOR + u32_at(image, 0x248)?;
    image.get(start..start + u32_at(image, 0x24c)?)
}

/// Decompresses a whole file with the tool that its first bytes name.
pub(super) fn decompress(packed: &[u8]) -> Result<Vec<u8>, String> {
    let tools: [(&[u8], &str); 4] = [
        (b"\x02\x21\x4c\x18", "lz4"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\xfd7zXZ", "xz"),
        (b"\x1f\x8b", "gzip"),
    ];
    let tool = tools.iter().find(|(magic, _)| packed.starts_with(magic));
    let (_, tool) = tool.ok_or("its compression is unknown")?;
    let program = Program::new(tool).arg("-dc").stdin(Stdin::Bytes(packed.to_vec()));
    program.run_ok().map(|output| output.stdout).map_err(|error| error.to_string())
}

/// Whether an ELF64 file has the PVH entry note; `None` if it is no ELF64 file.
fn has_pvh_entry(elf: &[u8]) -> Option<bool> {
    if !elf.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let headers = u64_at(elf, 0x20)?;
    let count = usize::from(u16::from_le_bytes(elf.get(0x38..0x3a)?.try_into().ok()?));
    for header in (0..count).map(|n| headers + n * 56) {
        const PT_NOTE: usize = 4;
        if u32_at(elf, header)? == PT_NOTE {
            let (start, size) = (u64_at(elf, header + 8)?, u64_at(elf, header + 32)?);
            let notes = elf.get(start..start.checked_add(size)?)?;
            if has_note(notes, PVH_ENTRY) {
                return Some(true);
            }
        }
    }
    Some(false)
}

fn has_note(mut notes: &[u8], wanted: u32) -> bool {
    while let (Some(name), Some(size), Some(kind)) =
        (u32_at(notes, 0), u32_at(notes, 4), u32_at(notes, 8))
    {
        if kind == wanted as usize && notes.get(12..15) == Some(b"Xen") {
            return true;
        }
        let next = 12 + name.next_multiple_of(4) + size.next_multiple_of(4);
        notes = notes.get(next..).unwrap_or_default();
    }
    false
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(8)?)?;
    usize::try_from(u64::from_le_bytes(bytes.try_into().ok()?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF64 file with one program header, a note of this type.
    fn elf(kind: u32) -> Vec<u8> {
        let mut elf = vec![0; 64 + 56];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[0x20] = 64;
        elf[0x38] = 1;
        elf[64] = 4;
        elf[64 + 8] = 120;
        elf[64 + 32] = 20;
        for word in [4, 4, kind] {
            elf.extend_from_slice(&word.to_le_bytes());
        }
        elf.extend_from_slice(b"Xen\0\0\0\x10\0");
        elf
    }

    /// A bzImage with one set-up sector around a gzip-packed payload.
    fn bz_image(elf: &[u8]) -> Vec<u8> {
        let gzip = Program::new("gzip").arg("-c").stdin(Stdin::Bytes(elf.to_vec()));
        let packed = gzip.run_ok().unwrap().stdout;
        let mut image = vec![0; 2 * SECTOR];
        image[0x1f1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        let length = u32::try_from(packed.len() + 4).unwrap();
        image[0x24c..0x250].copy_from_slice(&length.to_le_bytes());
        image.extend_from_slice(&packed);
        image.extend_from_slice(&u32::try_from(elf.len()).unwrap().to_le_bytes());
        image
    }

    #[test]
    fn the_elf_comes_out_of_its_image() {
        let elf = elf(PVH_ENTRY);
        assert_eq!(vmlinux(&bz_image(&elf)), Ok(elf));
    }

    #[test]
    fn other_files_are_refused_with_a_reason() {
        assert_eq!(vmlinux(b"MZ"), Err("not a bzImage".to_owned()));
        assert!(vmlinux(&bz_image(&elf(1))).unwrap_err().contains("PVH"));
        let mut cut = bz_image(&elf(PVH_ENTRY));
        cut.truncate(cut.len() - 1);
        assert!(vmlinux(&cut).is_err());
    }
}
