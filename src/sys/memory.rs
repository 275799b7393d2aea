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
