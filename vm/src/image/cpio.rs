//! Cpio: a writer for the "newc" archives that the kernel unpacks as initial RAM disk.

/// An archive that grows in memory. Times and owners are 0, so equal input gives equal bytes.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

const DIRECTORY: u32 = 0o040_000;
const CHARACTER: u32 = 0o020_000;
const REGULAR: u32 = 0o100_000;

impl Archive {
    /// Adds a directory. Parents have to be added before their children.
    pub(crate) fn directory(&mut self, name: &str, mode: u32) {
        self.entry(name, DIRECTORY | mode, (0, 0), &[]);
    }

    /// Adds a regular file.
    pub(crate) fn file(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entry(name, REGULAR | mode, (0, 0), content);
    }

    /// Adds a character device with its major and minor number.
    pub(crate) fn device(&mut self, name: &str, mode: u32, number: (u32, u32)) {
        self.entry(name, CHARACTER | mode, number, &[]);
    }

    /// Ends the archive.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entries = 0;
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        // The kernel skips zeros between archives; whole sectors keep other readers happy.
        self.pad(512);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        let size = u32::try_from(content.len()).expect("an initrd file is below 4 GiB");
        let name_size = u32::try_from(name.len() + 1).expect("a path is short");
        let inode = self.entries;
        self.entries += 1;
        // ino mode uid gid nlink mtime, file size, device of the file system (major minor), device
        // that the entry stands for (major minor), name size, check
        let fields = [inode, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad(4);
        self.bytes.extend_from_slice(content);
        self.pad(4);
    }

    fn pad(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_aligned_and_described_by_its_header() {
        let mut archive = Archive::default();
        archive.file("init", 0o755, b"hello");
        let bytes = archive.finish();
        let text = std::str::from_utf8(&bytes).unwrap();
        assert!(text.starts_with("07070100000000000081ed"), "{text}");
        assert_eq!(&text[54..62], "00000005", "file size");
        assert_eq!(&text[94..102], "00000005", "name size with its zero");
        assert_eq!(&text[110..115], "init\0");
        assert_eq!(&text[116..121], "hello", "110 + 5 is padded to 116");
        assert_eq!(&text[124..130], "070701", "the trailer follows, aligned");
        assert!(text.contains("TRAILER!!!"));
        assert_eq!(bytes.len() % 512, 0);
    }

    #[test]
    fn a_device_carries_its_number() {
        let mut archive = Archive::default();
        archive.directory("dev", 0o755);
        archive.device("dev/console", 0o600, (5, 1));
        let text = String::from_utf8(archive.finish()).unwrap();
        let second = text[1..].find("070701").unwrap() + 1;
        assert_eq!(&text[second + 14..second + 22], "00002180", "character device, 0600");
        assert_eq!(&text[second + 78..second + 94], "0000000500000001");
    }
}
