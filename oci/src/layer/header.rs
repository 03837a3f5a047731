//! Tar headers: ustar, with a PAX header in front where ustar has no room (POSIX.1-2001).

/// The kinds of entries that we write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink,
    Symlink,
    Char,
    Block,
    Directory,
    Fifo,
}

impl Kind {
    fn flag(self) -> u8 {
        match self {
            Self::File => b'0',
            Self::HardLink => b'1',
            Self::Symlink => b'2',
            Self::Char => b'3',
            Self::Block => b'4',
            Self::Directory => b'5',
            Self::Fifo => b'6',
        }
    }
}

/// One entry's metadata.
#[derive(Debug)]
pub(crate) struct Header<'a> {
    /// Relative to the root, without `./`; directories end in a slash.
    pub path: &'a [u8],
    pub kind: Kind,
    /// The target of a link, else empty.
    pub link: &'a [u8],
    /// Permissions, setuid, setgid and sticky bit.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Seconds since the epoch.
    pub mtime: i64,
    /// Bytes of content that follow.
    pub size: u64,
    /// Major and minor number.
    pub device: (u32, u32),
    /// Name and value, sorted by name.
    pub xattrs: &'a [(Vec<u8>, Vec<u8>)],
}

const BLOCK: usize = 512;
const NAME_LEN: usize = 100;
const PREFIX_LEN: usize = 155;
const MAX_OCTAL_7: u64 = 0o7_777_777;
const MAX_OCTAL_11: u64 = 0o77_777_777_777;

impl Header<'_> {
    /// Appends the header's blocks to `out`. The same metadata always gives the same bytes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let mut records = Vec::new();
        // Sorted by keyword: capitals first.
        for (name, value) in self.xattrs {
            let mut keyword = b"SCHILY.xattr.".to_vec();
            keyword.extend_from_slice(name);
            push_record(&mut records, &keyword, value);
        }
        if u64::from(self.gid) > MAX_OCTAL_7 {
            push_record(&mut records, b"gid", self.gid.to_string().as_bytes());
        }
        if self.link.len() > NAME_LEN {
            push_record(&mut records, b"linkpath", self.link);
        }
        let mtime = u64::try_from(self.mtime)
            .ok()
            .filter(|&m| m <= MAX_OCTAL_11);
        if mtime.is_none() {
            push_record(&mut records, b"mtime", self.mtime.to_string().as_bytes());
        }
        let split = split_path(self.path);
        if split.is_none() {
            push_record(&mut records, b"path", self.path);
        }
        if self.size > MAX_OCTAL_11 {
            push_record(&mut records, b"size", self.size.to_string().as_bytes());
        }
        if u64::from(self.uid) > MAX_OCTAL_7 {
            push_record(&mut records, b"uid", self.uid.to_string().as_bytes());
        }
        if !records.is_empty() {
            block(out, b"", b"././@PaxHeader", b'x', |header| {
                octal(&mut header[100..108], 0o644);
                octal(&mut header[108..116], 0);
                octal(&mut header[116..124], 0);
                octal(&mut header[124..136], records.len() as u64);
                octal(&mut header[136..148], 0);
            });
            out.extend_from_slice(&records);
            out.resize(out.len() + padding(records.len() as u64), 0);
        }
        let (prefix, name) = split.unwrap_or((b"", &self.path[..self.path.len().min(NAME_LEN)]));
        block(out, prefix, name, self.kind.flag(), |header| {
            octal(&mut header[100..108], u64::from(self.mode & 0o7777));
            octal(&mut header[108..116], fitting(self.uid.into(), MAX_OCTAL_7));
            octal(&mut header[116..124], fitting(self.gid.into(), MAX_OCTAL_7));
            octal(&mut header[124..136], fitting(self.size, MAX_OCTAL_11));
            octal(&mut header[136..148], mtime.unwrap_or(0));
            let link = &self.link[..self.link.len().min(NAME_LEN)];
            header[157..157 + link.len()].copy_from_slice(link);
            octal(&mut header[329..337], self.device.0.into());
            octal(&mut header[337..345], self.device.1.into());
        });
    }
}

/// How many zero bytes follow content of this size.
pub(crate) fn padding(size: u64) -> usize {
    let over = (size % BLOCK as u64) as usize;
    (BLOCK - over) % BLOCK
}

/// What does not fit is in the PAX header; the field then holds zero.
fn fitting(value: u64, max: u64) -> u64 {
    if value <= max { value } else { 0 }
}

fn octal(field: &mut [u8], mut value: u64) {
    let (last, digits) = match field.split_last_mut() {
        Some(parts) => parts,
        None => return,
    };
    *last = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value & 7) as u8;
        value >>= 3;
    }
}

/// A path as ustar's prefix and name, or `None` when it does not fit.
fn split_path(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= NAME_LEN {
        return Some((b"", path));
    }
    let longest_prefix = path.len().min(PREFIX_LEN + 1).min(path.len() - 1);
    let slash = path[..longest_prefix].iter().rposition(|&b| b == b'/')?;
    let (prefix, name) = (&path[..slash], &path[slash + 1..]);
    (!prefix.is_empty() && !name.is_empty() && name.len() <= NAME_LEN).then_some((prefix, name))
}

/// `length keyword=value\n`, where the length counts itself.
fn push_record(out: &mut Vec<u8>, keyword: &[u8], value: &[u8]) {
    let rest = keyword.len() + value.len() + 3;
    let mut len = rest + 1;
    while len != rest + decimal_digits(len) {
        len = rest + decimal_digits(len);
    }
    out.extend_from_slice(len.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(keyword);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn decimal_digits(n: usize) -> usize {
    n.checked_ilog10().unwrap_or(0) as usize + 1
}

fn block(
    out: &mut Vec<u8>,
    prefix: &[u8],
    name: &[u8],
    flag: u8,
    fields: impl FnOnce(&mut [u8; BLOCK]),
) {
    let mut header = [0; BLOCK];
    header[..name.len()].copy_from_slice(name);
    header[345..345 + prefix.len()].copy_from_slice(prefix);
    header[156] = flag;
    header[257..265].copy_from_slice(b"ustar\x0000");
    fields(&mut header);
    header[148..156].fill(b' ');
    let sum: u64 = header.iter().map(|&b| u64::from(b)).sum();
    octal(&mut header[148..155], sum);
    out.extend_from_slice(&header);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn file(path: &[u8]) -> Header<'_> {
        Header {
            path,
            kind: Kind::File,
            link: b"",
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: 1,
            size: 0,
            device: (0, 0),
            xattrs: &[],
        }
    }

    /// The one entry as the tar crate reads it.
    fn read_back(header: &Header<'_>, check: impl FnOnce(&mut tar::Entry<'_, &[u8]>)) {
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        assert_eq!(bytes.len() % BLOCK, 0);
        let mut archive = tar::Archive::new(&bytes[..]);
        let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(
            entry.path_bytes().as_ref(),
            header.path,
            "{}",
            header.path.escape_ascii()
        );
        check(&mut entry);
    }

    #[test]
    fn names_of_any_length_and_bytes_survive() {
        for len in [
            1, 99, 100, 101, 155, 156, 157, 255, 256, 257, 300, 1000, 4000,
        ] {
            let flat = vec![b'n'; len];
            read_back(&file(&flat), |_| ());
            let nested = b"dir/".repeat(len / 4 + 1);
            read_back(&file(&nested), |_| ());
            let raw = vec![0xff; len];
            read_back(&file(&raw), |_| ());
        }
    }

    #[test]
    fn pax_is_used_only_where_ustar_has_no_room() {
        let blocks = |header: &Header<'_>| {
            let mut bytes = Vec::new();
            header.encode(&mut bytes);
            bytes.len() / BLOCK
        };
        assert_eq!(blocks(&file(&[b'a'; 100])), 1);
        assert_eq!(blocks(&file(&[b'a'; 101])), 3);
        let nested = [&[b'a'; 100][..], b"/", &[b'b'; 100]].concat();
        assert_eq!(blocks(&file(&nested)), 1);
        let big = Header {
            size: MAX_OCTAL_11 + 1,
            ..file(b"big")
        };
        assert_eq!(blocks(&big), 3);
        read_back(&big, |e| assert_eq!(e.size(), MAX_OCTAL_11 + 1));
    }

    #[test]
    fn large_numbers_and_links_survive() {
        let link = [b'l'; 300];
        let header = Header {
            kind: Kind::Symlink,
            link: &link,
            uid: u32::MAX - 1,
            gid: 2_097_152,
            mode: 0o7777,
            ..file(b"link")
        };
        read_back(&header, |e| {
            assert_eq!(e.link_name_bytes().unwrap().as_ref(), link);
            assert_eq!(e.header().uid().unwrap(), u64::from(u32::MAX - 1));
            assert_eq!(e.header().gid().unwrap(), 2_097_152);
            assert_eq!(e.header().mode().unwrap(), 0o7777);
        });
    }

    #[test]
    fn a_record_counts_its_own_length() {
        for len in 0..2000 {
            let mut record = Vec::new();
            push_record(&mut record, b"k", &vec![b'v'; len]);
            let space = record.iter().position(|&b| b == b' ').unwrap();
            let told: usize = std::str::from_utf8(&record[..space])
                .unwrap()
                .parse()
                .unwrap();
            assert_eq!(told, record.len());
        }
    }

    #[test]
    fn an_entry_reads_to_its_end() {
        let header = Header {
            size: 5,
            ..file(b"five")
        };
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        bytes.extend_from_slice(b"12345");
        bytes.resize(bytes.len() + padding(5), 0);
        let mut archive = tar::Archive::new(&bytes[..]);
        let mut text = String::new();
        let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
        entry.read_to_string(&mut text).unwrap();
        assert_eq!(text, "12345");
    }
}
