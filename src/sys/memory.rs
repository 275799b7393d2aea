//! How the C library's allocator keeps what is freed.

/// Blocks of this size and more are pages of their own, and go back to the kernel when they are freed; so does as much at
/// the end of the heap.
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 64 * 1024;

/// Has the allocator give back what it does not need. To be called before the first thread is started.
///
/// glibc makes a heap for each of the agent's threads, up to eight a CPU, and raises the size from which a block goes back
/// to the kernel with the largest that was freed: the text of one scrape stays for good (`malloc/malloc.c`, `mallopt(3)`).
/// One heap is enough, since only one thread at a time has much to do. Does nothing with another C library.
#[cfg_attr(
    target_env = "gnu",
    expect(unsafe_code, reason = "settings of the allocator that no safe wrapper offers")
)]
pub fn keep_little() {
    #[cfg(target_env = "gnu")]
    for (parameter, value) in
        [(libc::M_ARENA_MAX, 1), (libc::M_MMAP_THRESHOLD, LARGE), (libc::M_TRIM_THRESHOLD, LARGE)]
    {
        // SAFETY: takes two numbers, and no other thread runs yet. What is refused changes nothing.
        unsafe { libc::mallopt(parameter, value) };
    }
}

/// Gives the pages back that nothing is in, also those between others, which takes as long as looking at all of them.
/// Does nothing with another C library than glibc.
#[cfg_attr(
    target_env = "gnu",
    expect(unsafe_code, reason = "a call of the allocator that no safe wrapper offers")
)]
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes a number, and may be called by any thread at any time (`malloc_trim(3)`: MT-Safe).
    unsafe {
        libc::malloc_trim(0)
    };
}

/// Takes the code and the constants of the program and its libraries out of the memory of this process. What is used again is
/// mapped again from the kernel's page cache; what only the start needed stays out, and the kernel may reclaim it. To be called
/// once the agent works: a start touches most of the program, and the kernel maps 64 KiB around each page that is touched.
///
/// Only segments that cannot be written to are taken (`PT_LOAD` without `PF_W`, elf(5)): they are as they are in the file.
/// Relocated constants are in a segment that could be written to.
#[expect(unsafe_code, reason = "calls of the C library that no safe wrapper offers")]
pub fn unmap_code() {
    // SAFETY: the function is called for each object that is loaded, and only while this call lasts; it gets no data.
    unsafe {
        libc::dl_iterate_phdr(Some(unmap_object), std::ptr::null_mut());
    }
}

#[expect(unsafe_code, reason = "a call back from the C library")]
unsafe extern "C" fn unmap_object(
    object: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    _data: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: the C library passes a pointer to a whole dl_phdr_info that lives as long as this call.
    let object = unsafe { &*object };
    if object.dlpi_phdr.is_null() {
        return 0;
    }
    // SAFETY: the C library says how many headers there are, and they live as long as the object.
    let headers = unsafe { std::slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into()) };
    let page = rustix::param::page_size();
    for header in
        headers.iter().filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0)
    {
        let (Ok(first), Ok(length)) = (usize::try_from(header.p_vaddr), usize::try_from(header.p_memsz))
        else {
            continue;
        };
        let Some(first) = usize::try_from(object.dlpi_addr).ok().and_then(|base| base.checked_add(first))
        else {
            continue;
        };
        // The last page may be another segment's too.
        let (from, to) = (first & !(page - 1), first.saturating_add(length) & !(page - 1));
        if to > from {
            // SAFETY: the pages belong to a segment that is loaded and cannot be written to, so that they are pages of its file;
            // the kernel maps them again when they are touched. What is refused changes nothing.
            unsafe {
                libc::madvise(std::ptr::with_exposed_provenance_mut(from), to - from, libc::MADV_DONTNEED);
            }
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::unmap_code;

    /// Kilobytes of memory that are pages of files (`proc_pid_status(5)`).
    fn of_files() -> u64 {
        let status =
            std::fs::read_to_string("/proc/self/status").expect("what the kernel says of this process");
        let line = status.lines().find_map(|line| line.strip_prefix("RssFile:")).expect("Linux 4.5");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    #[test]
    fn code_that_is_unmapped_runs_and_relocated_constants_stay() {
        static WORDS: [&str; 2] = ["one", "two"];
        // Other tests of this process touch code at the same time.
        let fell = (0..100).any(|_| {
            let before = of_files();
            unmap_code();
            of_files() < before
        });
        assert!(fell, "nothing was unmapped");
        assert_eq!(std::hint::black_box(WORDS).join(" "), "one two");
        assert_eq!(format!("{:.2}", std::hint::black_box(1.5)), "1.50");
    }
}
