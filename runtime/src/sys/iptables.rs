//! Reading the tables of the old iptables, which nftables does not show (`ip_tables.h`).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// `struct ipt_getinfo`.
#[repr(C)]
struct Info {
    name: [u8; 32],
    valid_hooks: u32,
    hook_entry: [u32; 5],
    underflow: [u32; 5],
    num_entries: u32,
    size: u32,
}

const GET_INFO: i32 = 64;
const GET_ENTRIES: i32 = 65;
/// `struct ipt_get_entries` has the table's name and size before its entries, which are aligned.
const HEADER: usize = 40;
/// No administrator has as much as this; it keeps the kernel's word from being trusted blindly.
const LARGEST: usize = 64 << 20;
const FORWARD: usize = 2;

/// The entries of the filter table, with where those of FORWARD begin and where the last of them,
/// its policy, is.
///
/// # Errors
/// The system's, such as that there is no such table.
pub(crate) fn filter_table() -> io::Result<(Vec<u8>, usize, usize)> {
    let fd = socket(
        AddressFamily::Inet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        nix::sys::socket::SockProtocol::Raw,
    )?;
    let mut info = MaybeUninit::<Info>::zeroed();
    // SAFETY: zeroes are a valid `Info`, which has integers only.
    let name = unsafe { &mut info.assume_init_mut().name };
    name[..6].copy_from_slice(b"filter");
    get(&fd, GET_INFO, info.as_mut_ptr().cast(), size_of::<Info>())?;
    // SAFETY: as above, and the kernel has written into it.
    let info = unsafe { info.assume_init() };
    let size = info.size as usize;
    if size > LARGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut table = vec![0u8; HEADER + size];
    table[..6].copy_from_slice(b"filter");
    table[32..36].copy_from_slice(&info.size.to_ne_bytes());
    get(&fd, GET_ENTRIES, table.as_mut_ptr().cast(), table.len())?;
    let at = |offsets: [u32; 5]| offsets[FORWARD] as usize;
    let (first, last) = (at(info.hook_entry), at(info.underflow));
    Ok((table.split_off(HEADER), first, last))
}

fn get(fd: &OwnedFd, option: i32, to: *mut libc::c_void, size: usize) -> io::Result<()> {
    let mut length = libc::socklen_t::try_from(size).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: `to` points to `size` bytes that may be written, and the kernel is told so.
    let done =
        unsafe { libc::getsockopt(fd.as_raw_fd(), libc::SOL_IP, option, to, &raw mut length) };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
