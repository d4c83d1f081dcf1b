//! The probe: a program of 234 bytes that says what kernel it runs on and how it is confined.
//!
//! An image may hold nothing but the program itself. So the host brings the probe along: the host writes
//! the file of the probe once and mounts it read-only into every sandbox. The probe is machine code, so it
//! needs no library, loader or file of the image. It asks the kernel that answers its system calls, and
//! that kernel is exactly what the host has to know.
//!
//! If the probe gets a path as its argument, it first makes an empty file there. A step of a trial build
//! has to leave this file in the image (`trial.rs`).
//!
//! ```text
//! open(argument, O_CREAT)        only with an argument
//! syslog(SYSLOG_ACTION_READ_ALL) ─► standard output     (gVisor's log names gVisor)
//! "/proc/version", "/proc/self/status", "/proc/self/mounts"
//!                                ─► standard output
//! exit(0), or exit(1) when one of them can't be read or the file can't be made
//! ```

use std::{
    fs, io,
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

/// The machine code, at address [`BASE`] + [`HEADERS`].
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const CODE: [u8; 234] = [
    0x48, 0x83, 0x3c, 0x24, 0x02,              // cmp qword [rsp], 2         number of arguments
    0x7c, 0x1e,                                // jl kernel
    0x48, 0x8b, 0x7c, 0x24, 0x10,              // mov rdi, [rsp + 16]        the first after the name
    0xbe, 0x41, 0x02, 0x00, 0x00,              // mov esi, 577               O_WRONLY, O_CREAT, O_TRUNC
    0xba, 0xa4, 0x01, 0x00, 0x00,              // mov edx, 420               mode 0644
    0xb8, 0x02, 0x00, 0x00, 0x00,              // mov eax, 2                 open
    0x0f, 0x05,                                // syscall
    0x85, 0xc0,                                // test eax, eax
    0x0f, 0x88, 0x86, 0x00, 0x00, 0x00,        // js fail
    // kernel:
    0x48, 0x81, 0xec, 0x00, 0x20, 0x00, 0x00,  // sub rsp, 8192
    0xbf, 0x03, 0x00, 0x00, 0x00,              // mov edi, 3                 SYSLOG_ACTION_READ_ALL
    0x48, 0x89, 0xe6,                          // mov rsi, rsp
    0xba, 0x00, 0x20, 0x00, 0x00,              // mov edx, 8192
    0xb8, 0x67, 0x00, 0x00, 0x00,              // mov eax, 103               syslog
    0x0f, 0x05,                                // syscall
    0x48, 0x85, 0xc0,                          // test rax, rax
    0x7e, 0x12,                                // jle files
    0x48, 0x89, 0xc2,                          // mov rdx, rax
    0xbf, 0x01, 0x00, 0x00, 0x00,              // mov edi, 1                 standard output
    0x48, 0x89, 0xe6,                          // mov rsi, rsp
    0xb8, 0x01, 0x00, 0x00, 0x00,              // mov eax, 1                 write
    0x0f, 0x05,                                // syscall
    // files:
    0x48, 0x8d, 0x1d, 0x59, 0x00, 0x00, 0x00,  // lea rbx, [rip + paths]
    // file:
    0x48, 0x89, 0xdf,                          // mov rdi, rbx
    0x31, 0xf6,                                // xor esi, esi               O_RDONLY
    0xb8, 0x02, 0x00, 0x00, 0x00,              // mov eax, 2                 open
    0x0f, 0x05,                                // syscall
    0x85, 0xc0,                                // test eax, eax
    0x78, 0x3d,                                // js fail
    0x89, 0xc5,                                // mov ebp, eax
    // more:
    0x89, 0xef,                                // mov edi, ebp
    0x48, 0x89, 0xe6,                          // mov rsi, rsp
    0xba, 0x00, 0x20, 0x00, 0x00,              // mov edx, 8192
    0x31, 0xc0,                                // xor eax, eax               read
    0x0f, 0x05,                                // syscall
    0x48, 0x85, 0xc0,                          // test rax, rax
    0x78, 0x28,                                // js fail
    0x74, 0x14,                                // je next                    its end
    0x48, 0x89, 0xc2,                          // mov rdx, rax
    0xbf, 0x01, 0x00, 0x00, 0x00,              // mov edi, 1                 standard output
    0x48, 0x89, 0xe6,                          // mov rsi, rsp
    0xb8, 0x01, 0x00, 0x00, 0x00,              // mov eax, 1                 write
    0x0f, 0x05,                                // syscall
    0xeb, 0xd7,                                // jmp more
    // next:
    0x48, 0xff, 0xc3,                          // inc rbx
    0x80, 0x7b, 0xff, 0x00,                    // cmp byte [rbx - 1], 0      the end of the path
    0x75, 0xf7,                                // jne next
    0x80, 0x3b, 0x00,                          // cmp byte [rbx], 0          the end of all paths
    0x75, 0xb7,                                // jne file
    0x31, 0xff,                                // xor edi, edi
    0xeb, 0x05,                                // jmp exit
    // fail:
    0xbf, 0x01, 0x00, 0x00, 0x00,              // mov edi, 1
    // exit:
    0xb8, 0x3c, 0x00, 0x00, 0x00,              // mov eax, 60                exit
    0x0f, 0x05,                                // syscall
    // paths:
    b'/', b'p', b'r', b'o', b'c', b'/', b'v', b'e', b'r', b's', b'i', b'o', b'n', 0,
    b'/', b'p', b'r', b'o', b'c', b'/', b's', b'e', b'l', b'f', b'/', b's', b't', b'a', b't', b'u', b's', 0,
    b'/', b'p', b'r', b'o', b'c', b'/', b's', b'e', b'l', b'f', b'/', b'm', b'o', b'u', b'n', b't', b's', 0,
    0,
];
#[cfg(not(target_arch = "x86_64"))]
const CODE: [u8; 0] = [];

/// The address at which the file is mapped.
const BASE: u64 = 0x40_0000;
/// Length of the file header and the one program header, bytes.
const HEADERS: u64 = 64 + 56;

/// Writes the probe to `path`, unless the file there is the same already.
///
/// # Errors
/// Returns the file system's error, or an error that says that there is no probe for this machine's
/// processor.
pub(super) fn install(path: &Path) -> io::Result<()> {
    if CODE.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this build has no kernel probe for this processor: use an x86-64 machine",
        ));
    }
    let image = image();
    if fs::read(path).is_ok_and(|found| found == image) {
        return fs::set_permissions(path, fs::Permissions::from_mode(0o555));
    }
    let partial = path.with_extension("partial");
    let mut file = fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o755)
        .open(&partial)?;
    file.write_all(&image)?;
    file.sync_all()?;
    drop(file);
    fs::set_permissions(&partial, fs::Permissions::from_mode(0o555))?;
    fs::rename(&partial, path)
}

/// Returns the whole file: a static ELF executable with one segment.
pub(super) fn image() -> Vec<u8> {
    let size = HEADERS + CODE.len() as u64;
    let mut image = Vec::new();
    // File header: magic, 64 bits, little-endian, version 1, then zeros.
    image.extend([0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for half in [2_u16, 62] {
        image.extend(half.to_le_bytes()); // executable, x86-64
    }
    image.extend(1_u32.to_le_bytes());
    for word in [BASE + HEADERS, 64, 0] {
        image.extend(word.to_le_bytes()); // entry, program headers, no section headers
    }
    image.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 1, 0, 0, 0] {
        image.extend(half.to_le_bytes()); // sizes and counts of the headers
    }
    // Program header: load, read and execute, the whole file at BASE, page by page.
    for word in [1_u32, 5] {
        image.extend(word.to_le_bytes());
    }
    for word in [0, BASE, BASE, size, size, 0x1000] {
        image.extend(word.to_le_bytes());
    }
    image.extend(CODE);
    image
}
